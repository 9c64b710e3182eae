"""Segment one image on a Triton server: python client.py image.png labels.png [--url localhost:8000]

Needs: pip install 'tritonclient[http]' pillow numpy
"""

import argparse
import sys

import numpy as np
import tritonclient.http as triton
from PIL import Image, ImageOps

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("image")
parser.add_argument("labels")
parser.add_argument("--url", default="localhost:8000")
parser.add_argument("--model", default="unet")
args = parser.parse_args()

image = ImageOps.exif_transpose(Image.open(args.image))
if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
    sys.exit(f"{args.image}: has mode {image.mode}; this client sends 8-bit grey or RGB images")
# As unet predict reads it: the colours of a palette, no alpha.
image = image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
image = np.atleast_3d(np.asarray(image))[None]  # (1, H, W, C) uint8
client = triton.InferenceServerClient(args.url)
given = triton.InferInput("image", image.shape, "UINT8")
given.set_data_from_numpy(np.ascontiguousarray(image))
answer = client.infer(args.model, [given], outputs=[triton.InferRequestedOutput("labels")])
labels = answer.as_numpy("labels")[0]  # (H, W) uint8, class numbers
Image.fromarray(labels).save(args.labels)
print(f"{args.image}: {labels.shape[1]}x{labels.shape[0]}, {np.bincount(labels.ravel()).tolist()} pixels per class")
