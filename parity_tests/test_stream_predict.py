"""unet predict on images in tiles and strips: every runtime, killed, in shards; against the whole image in NumPy."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from parity_tests.battery.cases import CASES, one_of_each
from unet_data.predict import Output, predict_image
from unet_data.stitch import predict_blended, predict_tiled
from unet_data.stream import segment
from unet_data.stream_store import TileStore
from unet_data.test_time import as_logits, augmented, predict_rotated, symmetries
from unet_data.tiles import mirror_window
from unet_export.mnn_runtime import DEVIATION
from unet_spec import PRESETS, Checkpoint, DataSpec, random_tensors
from unet_spec.tiling import least_tile, plan_tiles
from unet_tools.cli import main

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
    """The NumPy reference, float64, of the mirrored canvas in one piece."""
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
    """The U-Nets that cannot be tiled and one network of every other architecture: by tiles where that is exact."""
    if runtime == "mnn":
        pytest.importorskip("MNN")
    config = CASES[name].config
    checkpoint = checkpoint_of(config, tmp_path / "ck")
    geometry, flags = config.geometry, []
    size = (47, 37)
    if geometry.shift_invariant:
        tile = least_tile(geometry)
        size, flags = (next(n for n in PRIMES if n > tile + geometry.grid().step), 37), ["--tile", str(tile)]
        assert len(plan_tiles(geometry, size, tile)) > 1
    image = np.random.default_rng(0).integers(0, 255, (*size, config.in_channels)).astype(np.uint8)
    np.save(tmp_path / "in.npy", image[None])
    flags += ["--json", "--output", "logits", "--runtime", runtime, "-o", str(tmp_path / "out.npy")]
    assert main(["predict", str(tmp_path / "ck"), str(tmp_path / "in.npy"), *flags]) == 0
    whole = whole_image(checkpoint, image)
    assert np.abs(np.load(tmp_path / "out.npy") - whole).max() <= 1e-5 * np.abs(whole).max()


def test_mnn_installs_nothing(case, tmp_path, monkeypatch):
    """Its package's own converter script has pip install another package, which reports to its maker."""
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
    monkeypatch.setattr("unet_tools.image_plan.STRIP_ROWS", (32,))
    assert main([*command, "--strips", "--runtime", runtime, "-o", str(tmp_path / "o.npy")]) == 0
    whole = whole_image(checkpoint, image)
    assert np.abs(np.load(tmp_path / "o.npy") - whole).max() <= 1e-5 * np.abs(whole).max()


@pytest.mark.parametrize("flags", [["--tile", "60"], ["--strips"]], ids=["tiles", "strips"])
def test_shards_and_resuming_give_the_same_bytes(case, flags, tmp_path, monkeypatch, capsys):
    _, _, command = case
    monkeypatch.setattr("unet_tools.image_plan.STRIP_ROWS", (16,))
    monkeypatch.setattr("unet_tools.image_plan.BAND_ROWS", 32)
    command = [*command, *flags, "--runtime", "torch", "--json"]
    calm, parts = tmp_path / "calm.npy", tmp_path / "parts.npy"
    assert main([*command, "-o", str(calm)]) == 0
    for part in ("2/3", "1/3"):
        assert main([*command, "-o", str(parts), "--shard", part]) == 0
        assert not parts.exists(), "a part looks whole"
    capsys.readouterr()
    assert main([*command, "-o", str(parts)]) == 0
    told = json.loads(capsys.readouterr().out)["images"][0]
    assert 0 < told["computed"] < told["tiles"]
    if flags == ["--strips"]:  # a later start sees other blocks of a convolution, which may round otherwise
        assert np.abs(np.load(parts) - np.load(calm)).max() <= 1e-6 * np.abs(np.load(calm)).max()
    else:
        assert parts.read_bytes() == calm.read_bytes()


@pytest.mark.parametrize("part", [["--shard", "2/3"], []], ids=["shard", "killed"])
def test_less_memory_later_does_not_move_the_tiles(case, part, tmp_path, monkeypatch, capsys):
    """The plan of the first process holds, where the same command finds less memory, or a shard another machine."""
    _, _, command = case
    command = [*command, "--runtime", "torch", "--json", "-o", str(tmp_path / "o.npy")]
    monkeypatch.setattr("unet_tools.image_plan._default_budget", lambda: 2**27)
    assert main([*command, "--shard", "1/3"]) == 0
    first = json.loads(capsys.readouterr().out)["images"][0]
    monkeypatch.setattr("unet_tools.image_plan._default_budget", lambda: 72 * 2**20)
    if part:
        assert main([*command, *part]) == 0
        capsys.readouterr()
    assert main(command) == 0
    second = json.loads(capsys.readouterr().out)["images"][0]
    assert second["tile"] == first["tile"]
    assert first["computed"] + second["computed"] <= second["tiles"]
    assert main([*command[:-1], str(tmp_path / "new.npy")]) == 0
    assert json.loads(capsys.readouterr().out)["images"][0]["tile"] != first["tile"], "this would test nothing"


def test_strips_of_another_height_go_on(case, tmp_path, monkeypatch):
    """Bands lie where they lay, whatever the strips."""
    _, _, command = case
    command = [*command, "--runtime", "torch", "--strips"]
    monkeypatch.setattr("unet_tools.image_plan.BAND_ROWS", 48)
    monkeypatch.setattr("unet_tools.image_plan.STRIP_ROWS", (96,))
    assert main([*command, "-o", str(tmp_path / "calm.npy")]) == 0
    assert main([*command, "-o", str(tmp_path / "o.npy"), "--shard", "1/2"]) == 0
    monkeypatch.setattr("unet_tools.image_plan.STRIP_ROWS", (16,))
    assert main([*command, "-o", str(tmp_path / "o.npy")]) == 0
    calm, found = np.load(tmp_path / "calm.npy"), np.load(tmp_path / "o.npy")
    assert np.abs(found - calm).max() <= 1e-5 * np.abs(calm).max()


@pytest.mark.parametrize(("preset", "tile"), [("paper", 32), ("same", 24)])
def test_shards_of_a_volume_meet_exactly(preset, tile, tmp_path):
    config = PRESETS[preset].replace(widths=(2, 4), dropout=0.0, spatial_dims=3)
    checkpoint = checkpoint_of(config, tmp_path / "ck")
    image = np.random.default_rng(0).integers(0, 255, (23, 37, 29)).astype(np.uint8)
    np.save(tmp_path / "in.npy", image)
    command = ["predict", str(tmp_path / "ck"), str(tmp_path / "in.npy"), "--output", "logits", "--tile", str(tile)]
    out = tmp_path / "o.npy"
    for part in ("3/3", "1/3", "2/3"):
        assert main([*command, "-o", str(out), "--shard", part]) == 0
    tiles = len(list((tmp_path / "o.npy.part").glob("[0-9]*.npy")))
    assert tiles == len(plan_tiles(config.geometry, image.shape, tile)) > 3
    assert main([*command, "-o", str(out)]) == 0
    whole = whole_image(checkpoint, image)
    assert np.abs(np.load(out) - whole).max() <= 1e-5 * np.abs(whole).max()


def test_reading_computing_and_writing_overlap(tmp_path):
    """Each waits for the others' next piece of work: one after the other, this would wait forever."""
    config, run = runs()
    plan = plan_tiles(config.geometry, (150, 60), 60)
    read, computed = threading.Semaphore(0), threading.Semaphore(0)
    image = np.random.default_rng(0).integers(0, 255, (150, 60, 1)).astype(np.uint8)

    class Picture:
        shape, ndim = image.shape, 3

        def __getitem__(self, window):
            read.release()
            return image[window]

    count = len(plan)
    calls = []

    def overlapping(x):
        calls.append(x)
        if len(calls) < count:
            assert all(read.acquire(timeout=20) for _ in range(2 if len(calls) == 1 else 1)), "the next is not read"
        computed.release()
        return run(x)

    class Store(TileStore):
        def put(self, number, pixels):
            wanted = 2 if number == 0 else 1 if number + 1 < count else 0
            assert all(computed.acquire(timeout=20) for _ in range(wanted)), "the next is not computed"
            super().put(number, pixels)

    store = Store(tmp_path, plan, 1, (), np.dtype(np.uint8))
    segment(overlapping, [Picture()], store, config, DataSpec(), Output())
    assert len(calls) == count > 3
    assert store.done() == set(range(count))


def test_a_log_gets_lines_instead_of_a_bar(case, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("unet_tools.progress.LINE_EVERY", 0.0)
    assert main([*case[2], "--tile", "60", "-o", str(tmp_path / "o.npy")]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if " left" in line]
    assert len(lines) > 3
    assert re.fullmatch(r"o\.npy: 0\.0 of 0\.0 megapixels, \d+\.\d\d a second, 0:00:00 left", lines[-1])


def test_the_least_memory_that_is_named_is_enough(case, tmp_path, capsys):
    command = [*case[2], "-o", str(tmp_path / "o.npy"), "--memory"]
    assert main([*command, "1MiB"]) == 2
    error = capsys.readouterr().err.replace("\n", " ")
    named = re.search(r"the least that works is ([\d.]+) (MiB|GiB), of which the process has", error)
    assert named, error
    assert main([*command, f"{float(named[1]) + 0.01 * (named[2] == 'GiB')}{named[2]}"]) == 0


@pytest.mark.slow
def test_killed_and_resumed_is_identical(tmp_path):
    checkpoint_of(PRESETS["paper"].replace(widths=(4, 8, 16), dropout=0.0), tmp_path / "ck")
    np.save(tmp_path / "in.npy", np.random.default_rng(0).integers(0, 255, (3001, 2003)).astype(np.uint8))
    command = [sys.executable, "-m", "unet_tools.cli", "predict", str(tmp_path / "ck"), str(tmp_path / "in.npy")]
    command += ["--tile", "300"]
    subprocess.run([*command, "-o", str(tmp_path / "calm.tif")], check=True, capture_output=True)
    part = tmp_path / "o.tif.part"
    for wanted in (5, 20, 40):
        process = subprocess.Popen([*command, "-o", str(tmp_path / "o.tif")], stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(part.glob("[0-9]*.npy"))) < wanted:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "o.tif").exists()
    subprocess.run([*command, "-o", str(tmp_path / "o.tif")], check=True, capture_output=True)
    assert np.array_equal(*(__import__("tifffile").imread(tmp_path / n) for n in ("o.tif", "calm.tif")))
    assert not part.exists()


BAD = {
    "output exists": (["-o", "{tmp}/in.npy.old.npy"], "exists; --overwrite replaces it"),
    "the image itself": (["-o", "{tmp}/in.npy", "--overwrite"], "is the image itself"),
    "a shard out of range": (["-o", "{tmp}/o.npy", "--shard", "4/3"], "does not exist; give i/n"),
    "a tile too small": (["-o", "{tmp}/o.npy", "--tile", "20"], "the least that works is"),
    "no amount": (["-o", "{tmp}/o.npy", "--memory", "much"], "no amount of memory"),
    "too little memory": (["-o", "{tmp}/o.npy", "--memory", "1MiB"], "the least that works is"),
    "strips in onnx": (["-o", "{tmp}/o.npy", "--strips", "--runtime", "onnx"], "add --runtime torch"),
    "strips of tiles": (["-o", "{tmp}/o.npy", "--strips", "--tile", "60"], "--strips needs no tiles"),
    "logits in uint8": (["-o", "{tmp}/o.npy", "--dtype", "uint8"], "cannot be written as uint8"),
    "no such folder": (["-o", "{tmp}/no/o.npy"], "create it first"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(what, case, tmp_path, capsys):
    flags, told = BAD[what]
    (tmp_path / "in.npy.old.npy").write_bytes(b"old")
    before = sorted(tmp_path.iterdir())
    assert main([*case[2], *(f.format(tmp=tmp_path) for f in flags)]) == 2
    error = capsys.readouterr().err
    assert told in error.replace("\n", " ")
    assert "Traceback" not in error
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "in.npy.old.npy").read_bytes() == b"old"


def test_an_image_that_is_mended_is_predicted(case, tmp_path, capsys):
    """The folder of the tiles would hold another run's otherwise; one that holds a tile is kept."""
    image = case[1].astype(np.float32)
    command = [*case[2], "-o", str(tmp_path / "o.npy"), "--tile", "76"]
    for y, kept in ((0, False), (-1, True)):
        spoilt = image.copy()
        spoilt[y, 0] = np.nan
        np.save(tmp_path / "in.npy", spoilt)
        assert main(command) == 2
        assert (tmp_path / "o.npy.part").exists() == kept
    shutil.rmtree(tmp_path / "o.npy.part")
    np.save(tmp_path / "in.npy", image)
    assert main(command) == 0
    capsys.readouterr()


def test_the_record_says_what_was_planned_and_measured(case, tmp_path, capsys):
    assert main([*case[2], "-o", str(tmp_path / "o.npy"), "--tile", "60", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)["images"][0]
    assert record["exact"]
    assert record["redundancy"] > 1
    assert record["predicted_bytes"] > 0
    assert record["resident_bytes"] >= record["measured_bytes"]


# --- test-time augmentation and blending ------------------------------------------------------------------------------


def runs(name="paper"):
    config = EXACT[name].replace(widths=(2, 4), dropout=0.0)
    tensors = random_tensors(config.graph, 3, np.float64)
    return config, lambda x: config.graph.forward(tensors, x)


@pytest.mark.parametrize("name", ["paper", "same"])
@pytest.mark.parametrize("symmetry", ["flips", "turns", "flips+turns"])
def test_augmented_tiles_equal_the_augmented_whole_image(symmetry, name):
    config, run = runs(name)
    image = np.random.default_rng(0).normal(size=(71, 53, 1))
    whole = predict_tiled(augmented(run, symmetry), image, plan_tiles(config.geometry, (71, 53)), 2)
    plan = plan_tiles(config.geometry, (71, 53), 36)
    assert len(plan) > 3
    tiled = predict_tiled(augmented(run, symmetry), image, plan, 2)
    assert np.abs(whole - tiled).max() < 1e-12
    plain = predict_tiled(run, image, plan_tiles(config.geometry, (71, 53)), 2)
    assert np.abs(whole - plain).max() > 1e-2, "it does nothing"


@pytest.mark.parametrize(("symmetry", "views"), [("flips", 4), ("turns", 4), ("flips+turns", 8)])
def test_views_are_undone(symmetry, views):
    """A network that answers each pixel by itself must not notice; each view is another one."""
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 1))
    same = augmented(lambda v: np.concatenate([v, -v], -1), symmetry)(x)
    assert np.allclose(same[..., 1] - same[..., 0], -2 * x[..., 0])
    seen = {np.rot90(np.flip(x, f), k, (-3, -2)).tobytes() for f, k in symmetries(symmetry, 2)}
    assert len(seen) == views == len(symmetries(symmetry, 2))


@pytest.mark.parametrize("channels", [1, 3])
def test_probabilities_become_logits_again(channels):
    from unet_data.predict import probabilities

    z = np.random.default_rng(0).normal(size=(5, channels))
    assert np.allclose(probabilities(as_logits(probabilities(z), channels)), probabilities(z))


def test_rotations_are_rotated_back():
    y, x = np.mgrid[:61, :47]
    image = np.sin(y / 9) * np.cos(x / 7)
    found = predict_rotated(lambda v: np.concatenate([v, -v], -1), image[..., None].astype(np.float32))
    inside = (slice(8, -8), slice(8, -8))
    assert np.abs((found[..., 0] - found[..., 1]) / 2 - image)[inside].max() < 0.02


def test_blended_tiles_of_an_exact_plan_change_nothing():
    config, run = runs()
    image = np.random.default_rng(0).normal(size=(71, 53, 1))
    plan = plan_tiles(config.geometry, (71, 53), 36)
    assert np.abs(predict_blended(run, image, plan, 2) - predict_tiled(run, image, plan, 2)).max() < 1e-12


def test_the_whole_image_is_the_default_where_tiles_cannot_be_exact():
    config = PRESETS["same-bilinear"].replace(widths=(2, 4))
    tensors = random_tensors(config.graph, 3, np.float32)
    seen = []

    def run(x):
        seen.append(x.shape)
        return config.graph.forward(tensors, x)

    predict_image(run, np.zeros((1300, 64, 1), np.uint8), config, DataSpec())
    assert len(seen) == 1
