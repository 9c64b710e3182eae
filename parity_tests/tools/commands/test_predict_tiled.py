"""`unet predict` by tiles and by strips: the whole image's result in every runtime."""

import os

import numpy as np
import pytest

from unet_data.windows import mirror_window
from unet_export.runtimes.mnn_runtime import DEVIATION
from unet_spec import Checkpoint, DataSpec, random_tensors
from unet_spec.families.unet import PRESETS
from unet_spec.tiling.tiles import minimum_tile, plan_tiles
from unet_tools.arguments.sizes import text_of
from unet_tools.cli import main

from ...battery.cases import CASES, one_of_each

EXACT = {n: c for n, c in PRESETS.items() if c.geometry.shift_invariant}
SIZE = (211, 149)
OTHERS = [name for name in one_of_each() if name not in EXACT]
PRIMES = (41, 61, 83, 113, 131, 283, 431)
SLOW = pytest.mark.slow


def checkpoint_of(config, folder):
    checkpoint = Checkpoint(config, random_tensors(config.graph, 3, np.float32), DataSpec())
    checkpoint.save(folder)
    return checkpoint


def whole_image(checkpoint, image):
    """The float64 NumPy reference of the whole mirrored canvas."""
    plan = plan_tiles(checkpoint.config.geometry, image.shape[: checkpoint.config.spatial_dims])
    pixels = image if image.ndim > checkpoint.config.spatial_dims else image[..., None]
    canvas = mirror_window(pixels / 255.0, [-axis.margin for axis in plan.axes], plan.canvas)
    tensors = {k: v.astype(np.float64) for k, v in checkpoint.tensors.items()}
    logits = checkpoint.config.graph.forward(tensors, canvas[None])[0]
    return logits[tuple(slice(0, axis.image) for axis in plan.axes)]


@pytest.fixture
def case(tmp_path):
    checkpoint = checkpoint_of(PRESETS["paper"].replace(widths=(2, 4, 6), dropout=0.0), tmp_path / "ck")
    image = np.random.default_rng(0).integers(0, 255, SIZE).astype(np.uint8)
    np.save(tmp_path / "in.npy", image)
    return checkpoint, image, ["predict", str(tmp_path / "ck"), str(tmp_path / "in.npy"), "--output", "logits"]


@pytest.mark.parametrize("runtime", ["onnx", "torch", "jax", "mnn", "mnn-fast"])
@pytest.mark.parametrize("name", EXACT)
def test_tiles_equal_the_whole_image_in_every_runtime(name, runtime, tmp_path):
    if runtime.startswith("mnn"):
        pytest.importorskip("MNN")
    checkpoint = checkpoint_of(EXACT[name].replace(widths=(2, 4, 6), dropout=0.0), tmp_path / "ck")
    image = np.random.default_rng(0).integers(0, 255, SIZE).astype(np.uint8)
    np.save(tmp_path / "in.npy", image)
    out = tmp_path / "out.npy"
    flags = ["--output", "logits", "--tile", "92", "--runtime", runtime, "-o", str(out)]
    assert main(["predict", str(tmp_path / "ck"), str(tmp_path / "in.npy"), *flags]) == 0
    whole = whole_image(checkpoint, image)
    bound = DEVIATION if runtime == "mnn-fast" else 1e-5
    assert np.abs(np.load(out) - whole).max() <= bound * np.abs(whole).max()
    assert not out.with_name("out.npy.part").exists()


@pytest.mark.parametrize("runtime", ["onnx", *(pytest.param(r, marks=SLOW) for r in ("torch", "jax", "mnn"))])
@pytest.mark.parametrize("name", OTHERS)
def test_every_architecture_in_every_runtime(name, runtime, tmp_path):
    """The U-Nets that cannot be tiled, and one network of every other architecture, in tiles if that is exact."""
    if runtime == "mnn":
        pytest.importorskip("MNN")
    config = CASES[name].config
    checkpoint = checkpoint_of(config, tmp_path / "ck")
    geometry, flags = config.geometry, []
    size = (47, 37)
    if geometry.shift_invariant:
        tile = minimum_tile(geometry)
        size, flags = (next(n for n in PRIMES if n > tile + geometry.grid().step), 37), ["--tile", str(tile)]
        assert len(plan_tiles(geometry, size, tile)) > 1
    image = np.random.default_rng(0).integers(0, 255, (*size, config.in_channels)).astype(np.uint8)
    np.save(tmp_path / "in.npy", image[None])
    flags += ["--json", "--output", "logits", "--runtime", runtime, "-o", str(tmp_path / "out.npy")]
    assert main(["predict", str(tmp_path / "ck"), str(tmp_path / "in.npy"), *flags]) == 0
    whole = whole_image(checkpoint, image)
    assert np.abs(np.load(tmp_path / "out.npy") - whole).max() <= 1e-5 * np.abs(whole).max()


def test_mnn_installs_nothing(case, tmp_path, monkeypatch):
    """The converter script of MNN's package installs another package with pip, which contacts its vendor."""
    pytest.importorskip("MNN")
    pip = tmp_path / "bin" / "pip"
    pip.parent.mkdir()
    pip.write_text(f"#!/bin/sh\ntouch {tmp_path / 'called'}\n")
    pip.chmod(0o755)
    monkeypatch.setenv("PATH", f"{pip.parent}:{os.environ['PATH']}")
    assert main([*case[2], "--runtime", "mnn", "-o", str(tmp_path / "o.npy")]) == 0
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize("runtime", ["torch", "jax"])
def test_strips_from_the_command_line(case, runtime, tmp_path, monkeypatch):
    checkpoint, image, command = case
    monkeypatch.setattr("unet_data.inference.plan.STRIP_ROWS", (32,))
    assert main([*command, "--strips", "--runtime", runtime, "-o", str(tmp_path / "o.npy")]) == 0
    whole = whole_image(checkpoint, image)
    assert np.abs(np.load(tmp_path / "o.npy") - whole).max() <= 1e-5 * np.abs(whole).max()


@pytest.mark.parametrize(("preset", "tile"), [("paper", 32), ("same", 24), ("same", (24, 32, 20))])
def test_shards_of_a_volume_meet_exactly(preset, tile, tmp_path):
    config = PRESETS[preset].replace(widths=(2, 4), dropout=0.0, spatial_dims=3)
    checkpoint = checkpoint_of(config, tmp_path / "ck")
    image = np.random.default_rng(0).integers(0, 255, (23, 37, 29)).astype(np.uint8)
    np.save(tmp_path / "in.npy", image)
    command = ["predict", str(tmp_path / "ck"), str(tmp_path / "in.npy"), "--output", "logits"]
    command += ["--tile", text_of(tile)]
    out = tmp_path / "o.npy"
    for part in ("3/3", "1/3", "2/3"):
        assert main([*command, "-o", str(out), "--shard", part]) == 0
    tiles = len(list((tmp_path / "o.npy.part").glob("[0-9]*.npy")))
    assert tiles == len(plan_tiles(config.geometry, image.shape, tile)) > 3
    assert main([*command, "-o", str(out)]) == 0
    whole = whole_image(checkpoint, image)
    assert np.abs(np.load(out) - whole).max() <= 1e-5 * np.abs(whole).max()
