"""The shapes in the signatures of unet_data hold: its functions in a process where beartype checks every call."""

import os
import subprocess
import sys

import pytest

from .. import NO_BYTECODE

for needed in ("jaxtyping", "beartype"):
    pytest.importorskip(needed, reason=f"{needed} is not installed; pip install 'unet-twins[test]'")

CODE = """
import importlib, pkgutil, typing
import beartype, jaxtyping, PIL.Image, scipy.ndimage, scipy.spatial, scipy.special, tifffile
import numpy as np
from unet_spec import DataSpec, preset

typing.TYPE_CHECKING = True  # the names of jaxtyping are imported for type checkers alone
with jaxtyping.install_import_hook("unet_data", "beartype.beartype"):
    import unet_data
    for module in pkgutil.walk_packages(unet_data.__path__, "unet_data."):
        importlib.import_module(module.name)
typing.TYPE_CHECKING = False
from unet_data import *
from unet_data.datasets.sampler import Sampler
from unet_data.inference.views import predict_rotated

for dims, size in ((2, 48), (3, 24)):
    data = membranes(3, size, seed=0, channels=2, spatial_dims=dims)
    config = preset("same", spatial_dims=dims, widths=(2, 4), in_channels=2)
    train, validation = split(data)
    maps = weight_maps(train, 10.0, 5.0, balance=True)
    Sampler(train, (16,) * dims, (8,) * dims, 2, 0, maps).batch(1)
    normalization = Normalization.from_dataset(train)
    spec = DataSpec(normalization.mean, normalization.std)
    run = lambda images: images * np.float32(2)
    logits = predict_image(augmented(run, "flips"), data.images[0], config, spec)
    assert most_probable(logits).shape == probabilities(logits).shape[:-1]
    measure(run, config, spec, validation, objects=True, warp=True)
    check_dataset(data)
    assert looks_foreign(data.images[0], spec) is None
noisy = lambda images, noise: images[..., :1] + noise[:, :1, None, None]
measure_samples(noisy, preset("probabilistic-unet"), DataSpec(), membranes(2, 32, seed=0), 3)
predict_rotated(run, membranes(1, 32, seed=0).images[0])
write_stack("a.tif", np.zeros((2, 20, 30), np.uint16))
write_stack("b.png", np.eye(20, dtype=np.uint8)[None])
assert read_stack("a.tif").shape == (2, 20, 30, 1)
assert to_class_indices(read_labels("b.png"), "b.png")[1] == 2

class Twice:
    name, config = "twice", preset("same", widths=(2, 4), in_channels=1)
    def run(self, images):
        return np.concatenate([images, 1 - images], -1)

predict_file(OpenNetwork(Twice(), DataSpec()), "a.tif", "c.tif", PredictSettings("probabilities", tile=32))
assert read_stack("c.tif").shape == (2, 20, 30, 1)
wrong = (
    lambda: confusion(np.zeros((3, 4), int), np.zeros((3, 5), int), 2),
    lambda: border_weights(np.zeros((4, 4))),
    lambda: probabilities(np.zeros((3, 2), int)),
    lambda: warping_error(np.zeros((4, 4), bool), np.zeros((4, 5), bool)),
    lambda: predict_image(run, data.images[0], config, spec, plan="all"),
)
for number, call in enumerate(wrong):
    try:
        call()
    except jaxtyping.TypeCheckError:
        continue
    raise AssertionError(f"call {number}: a wrong shape or dtype was not noticed")
"""


@pytest.mark.slow
def test_data_functions_keep_the_shapes_of_their_signatures(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, cwd=tmp_path, env=os.environ | NO_BYTECODE
    )
    assert done.returncode == 0, done.stderr[-3000:]
