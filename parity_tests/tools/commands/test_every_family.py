"""Every command works with every architecture."""

import json

import numpy as np
import pytest
from PIL import Image

from unet_data import read_stack
from unet_spec import PRESETS, Checkpoint, DataSpec, random_tensors
from unet_tools import cli

from ...fixtures.family_cases import FAMILIES

ONE_OF_EACH = [name for name in FAMILIES if name in PRESETS]


@pytest.fixture(autouse=True)
def six_images(small_synthetic, monkeypatch):
    """As large as those of "synthetic", so that tiles fit inside; fewer images suffice."""
    monkeypatch.setattr("unet_tools.arguments.data.SYNTHETIC", {2: (6, 384)})


def checkpoint_of(config, dtype=np.float32):
    return Checkpoint(config, random_tensors(config.graph, 0, dtype), DataSpec())


def unet(*arguments):
    return cli.main([str(a) for a in arguments])


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_every_command_takes_every_family(name, tmp_path, capsys):
    config = FAMILIES[name]
    checkpoint_of(config).save(tmp_path / "checkpoint")
    (tmp_path / "config.json").write_text(config.to_json())
    size = max(64, *(g.minimum for g in config.geometry.grids))
    assert unet("train", "synthetic", "--out", tmp_path / "run", "--config", tmp_path / "config.json", "--steps", 2,
                "--tile", size, "--json") == 0  # fmt: skip
    best = tmp_path / "run" / "best"
    assert (tmp_path / "run" / "report.html").exists()
    assert unet("evaluate", best, "synthetic", "--subset", "validation", "--json") == 0
    image = np.random.default_rng(0).integers(0, 256, (size + 9, size + 20), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    assert unet("predict", best, tmp_path / "image.png", "-o", tmp_path / "labels.tif", "--json") == 0
    assert read_stack(tmp_path / "labels.tif").shape == (1, *image.shape, 1)
    assert unet("check", tmp_path / "checkpoint", "--json") == 0
    assert unet("diff", tmp_path / "checkpoint", "--json") == 0
    assert unet("plan", best, "--image", 700, 500, "--json") == 0
    assert unet("convert", best, tmp_path / "flax.safetensors") == 0
    assert unet("export", best, "-o", tmp_path / "bundle", "--precision", "fp16", "--engines", "False", "--json") == 0
    capsys.readouterr()


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PRESETS))
def test_demo(name, tmp_path, capsys):
    """After two steps the network is not useful, but everything else must work."""
    unet("demo", "--preset", name, "--steps", 2, "--out", tmp_path / "demo", "--json")
    printed = json.loads(capsys.readouterr().out)
    assert [f for f in printed["findings"] if f["ok"] is False] == []
    assert (tmp_path / "demo" / "report.html").exists()
