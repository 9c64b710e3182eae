"""`unet predict --samples`."""

import json

import numpy as np
import pytest
from PIL import Image

from unet_data import read_stack
from unet_data.inference.predict import sample_image
from unet_export import OnnxRuntime, emit_onnx, onnx_bytes
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_spec.ops import draw_noise
from unet_tools import cli

PROBABILISTIC = preset("probabilistic-unet", widths=(4, 6), latent=3, convolutions=1)


def checkpoint_of(config, dtype=np.float32):
    return Checkpoint(config, random_tensors(config.graph, 0, dtype), DataSpec())


def unet(*arguments):
    return cli.main([str(a) for a in arguments])


@pytest.fixture
def probabilistic(tmp_path):
    """A checkpoint and an image file."""
    checkpoint_of(PROBABILISTIC).save(tmp_path / "checkpoint")
    image = np.random.default_rng(1).integers(0, 256, (33, 21), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    return tmp_path


def test_predict_draws_samples_as_pages(probabilistic, capsys):
    folder = probabilistic
    rest = ("--output", "logits", "--samples", 3, "--json")
    assert unet("predict", folder / "checkpoint", folder / "image.png", "-o", folder / "a.tif", *rest) == 0
    assert json.loads(capsys.readouterr().out)["images"][0]["shape"] == [3, 33, 21, 1]
    pages = read_stack(folder / "a.tif")
    checkpoint = Checkpoint.load(folder / "checkpoint")
    run = OnnxRuntime(onnx_bytes(emit_onnx(PROBABILISTIC, checkpoint.tensors))).run
    image = read_stack(folder / "image.png")[0]
    wanted = sample_image(run, image, PROBABILISTIC, DataSpec(), draw_noise(PROBABILISTIC.graph, 3, 0, 0))
    np.testing.assert_allclose(pages, wanted, rtol=1e-5, atol=1e-6)
    assert unet("predict", folder / "checkpoint", folder / "image.png", "-o", folder / "b.tif", "--seed", 1, *rest) == 0
    assert np.abs(read_stack(folder / "b.tif") - pages).max() > 1e-3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--samples", 2, "--augment", "flips"), "--samples cannot be combined"),
        (("--samples", 2, "--shard", "1/2"), "--samples cannot be combined"),
        (("--samples", -1), "neither may be negative"),
    ],
)
def test_predict_refuses(probabilistic, capsys, more, message):
    folder = probabilistic
    assert unet("predict", folder / "checkpoint", folder / "image.png", "-o", folder / "a.tif", *more) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "a.tif").exists()
