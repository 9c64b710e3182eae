"""Segment one image on a Triton server: python client.py image.png labels.png [--url localhost:8000]

Needs: pip install 'tritonclient[http]' pillow numpy
"""

import argparse

import numpy as np
import tritonclient.http as triton
from PIL import Image

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("image")
parser.add_argument("labels")
parser.add_argument("--url", default="localhost:8000")
parser.add_argument("--model", default="unet")
args = parser.parse_args()

image = np.atleast_3d(np.asarray(Image.open(args.image)))[None]  # (1, H, W, C) uint8
client = triton.InferenceServerClient(args.url)
given = triton.InferInput("image", image.shape, "UINT8")
given.set_data_from_numpy(np.ascontiguousarray(image))
answer = client.infer(args.model, [given], outputs=[triton.InferRequestedOutput("labels")])
labels = answer.as_numpy("labels")[0]  # (H, W) uint8, class numbers
Image.fromarray(labels).save(args.labels)
print(f"{args.image}: {labels.shape[1]}x{labels.shape[0]}, {np.bincount(labels.ravel()).tolist()} pixels per class")
