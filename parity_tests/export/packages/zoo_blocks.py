"""Run by the Python of `UNET_BIOIMAGEIO_PYTHON`, where this project is not installed: zoo_blocks.py MODEL.zip IMAGE.npy
OUT.npz [SIZE ...]. bioimageio.core predicts the image as a whole and, for each block size parameter, in blocks."""

import sys

import numpy as np
from bioimageio.core import load_model, test_model
from bioimageio.core.digest_spec import create_sample_for_model
from bioimageio.core.prediction import create_prediction_pipeline

model, image, out, *parameters = sys.argv[1:]
summary = test_model(model)
assert summary.status == "passed", summary.format()
described = load_model(model)


def sample():
    return create_sample_for_model(described, inputs={"image": np.load(image)})


with create_prediction_pipeline(described, weight_format="onnx") as pipeline:
    arrays = {"whole": pipeline.predict_sample_without_blocking(sample()).members["probabilities"].data.values}
    for n in map(int, parameters):
        blocks = pipeline.predict_sample_with_blocking(sample(), ns=n)
        arrays[f"blocks{n}"] = blocks.members["probabilities"].data.values
np.savez(out, **arrays)
