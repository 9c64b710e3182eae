"""`unet predict` and `unet evaluate` warn about images in other units."""

import numpy as np
import pytest

from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.cli import main

CONFIG = preset("paper", widths=(2, 4), in_channels=1)
TRAINED = DataSpec((0.5,), (0.18,))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The current directory, with a network ck/ and images a.npy, b.npy (spoilt) and c.npy."""
    monkeypatch.chdir(tmp_path)
    Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0, np.float32), TRAINED).save("ck")
    rng = np.random.default_rng(0)
    for name in "abc":
        np.save(f"{name}.npy", rng.normal(0.5, 0.18, (40, 44)).astype(np.float32))
    spoil("b.npy")
    return tmp_path


def spoil(name):
    image = np.load(name)
    image[0, 0] = np.nan
    np.save(name, image)


def pixels(scale, dtype, size=(700, 90)):
    """Like the training images, but in units of `scale`, and dark at the borders, which are not checked."""
    image = np.random.default_rng(1).normal(0.5, 0.18, (*size, 1)).clip(0, 1)
    image[:50] = 0
    return (image * scale).astype(dtype)


def test_both_commands_warn(home, capsys):
    np.save("b.npy", pixels(255, np.float32, (90, 90))[..., 0])
    assert main(["predict", "ck", "b.npy", "-o", "o.npy", "--runtime", "jax", "--json"]) == 0
    assert "warning: b.npy: values differ from those of the training images" in capsys.readouterr().err.replace(
        "\n", " "
    )
    for folder, kind in (("images", "u2"), ("labels", "u1")):
        (home / "set" / folder).mkdir(parents=True)
        for name in "pq":
            value = pixels(4095, kind, (60, 60))[..., 0] if kind == "u2" else np.eye(60, dtype=np.uint8)
            np.save(home / "set" / folder / f"{name}.npy", value)
    assert main(["evaluate", "ck", "set", "--runtime", "jax", "--json"]) == 0
    assert "warning: p: values differ from those of the training images" in capsys.readouterr().err.replace("\n", " ")
