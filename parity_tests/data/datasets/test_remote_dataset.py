"""Training data behind a URL: only the windows of batches are read, and all is as from the same files here."""

import json
from pathlib import Path

import numpy as np
import pytest

zarr = pytest.importorskip("zarr", reason="zarr is not installed")
pytest.importorskip("fsspec", reason="fsspec is not installed")
pytest.importorskip("aiohttp", reason="aiohttp is not installed")

from unet_data import Sampler, normalize, open_stored
from unet_data.datasets.splitting import divide
from unet_data.io.stores import guarded
from unet_data.io.stores.remote import shown, url_of

from ..io.stores.http_server import serving

SIDE, CHUNK = 1536, 128
WORDS = """--recipe none --widths 2 4 --tile 60 --batch 2 --steps 4 --log-every 1 --validate-every 4 --no-report
    --loader grain"""


def large_image(path, side=SIDE, value=None):
    """An OME-Zarr of one image, of noise or one value, with labels, uncompressed, in chunks."""
    values = np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)
    labels = np.kron(values[: side // 32, : side // 32] > 127, np.ones((32, 32), np.uint8)).astype(np.uint8)
    values = values if value is None else np.full_like(values, value)
    axes = [{"name": name, "type": "space"} for name in "yx"]
    scale = {"datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}]}]}
    for group, array, packed in ((path, values, None), (path / "labels/cells", labels, "auto")):
        made = zarr.create_group(group, zarr_format=3)
        made.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, **scale}]}
        own = {"dimension_names": ["y", "x"], "compressors": packed}
        made.create_array("0", shape=array.shape, dtype=array.dtype, chunks=(CHUNK, CHUNK), **own)[...] = array
    zarr.create_group(path / "labels", zarr_format=3).attrs["ome"] = {"version": "0.5", "labels": ["cells"]}


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    """A folder with image.ome.zarr, its URL, and the bytes sent."""
    folder = tmp_path_factory.mktemp("remote")
    large_image(folder / "image.ome.zarr")
    with serving(folder) as (url, sent):
        yield folder, url, sent


@pytest.fixture
def few_statistics(monkeypatch):
    monkeypatch.setattr(normalize, "STATISTICS", 2**17)
    monkeypatch.setitem(normalize.BLOCK, 2, CHUNK)


def of_the_image(sent):
    return sum(n for name, n in sent.items() if name.startswith("image.ome.zarr/0/c"))


def test_batches_from_a_url_are_those_of_a_file_and_the_image_is_not_downloaded(remote, few_statistics):
    folder, url, sent = remote
    sent.clear()
    far, near = (divide(open_stored(path / "image.ome.zarr"), "auto") for path in (url, folder))
    assert far.how == near.how == "validation: the last 256 of 1536 rows of image.ome"
    assert far.training.path == url_of(url / "image.ome.zarr")
    normal = normalize.Normalization.from_dataset(far.training)
    assert normal == normalize.Normalization.from_dataset(near.training)
    assert normal.std[0] == pytest.approx(0.2898, abs=1e-3)
    ours, theirs = (Sampler(part.training, (92, 92), (60, 60), 2, 0) for part in (far, near))
    for step in range(3):
        for a, b in zip(ours.batch(step), theirs.batch(step), strict=True):
            np.testing.assert_array_equal(a, b)
    assert CHUNK**2 < of_the_image(sent) < SIDE**2 / 3
    metadata = sum(name.endswith(("zarr.json", ".zattrs", ".zgroup", ".zarray")) for name in sent)
    assert metadata < 20


def test_a_chunk_is_requested_once_and_no_more_are_kept_than_allowed(remote, monkeypatch):
    _, url, sent = remote
    monkeypatch.setattr(guarded, "recent", guarded.RecentChunks())
    sent.clear()
    image = open_stored(url / "image.ome.zarr").images[0]
    for row in range(0, CHUNK, 32):
        assert image[row : row + 32][:32, :SIDE].shape == (32, SIDE, 1)
    assert of_the_image(sent) == CHUNK * SIDE
    monkeypatch.setattr(guarded, "CACHE", 2 * CHUNK**2)
    for row in range(CHUNK, 2 * CHUNK, 64):
        np.asarray(image[row : row + 64])
    again = 3 * CHUNK * SIDE - of_the_image(sent)  # chunks arrive in any order: the last two may be needed next
    assert 0 <= again <= guarded.CACHE, "the second band requests its other chunks again"
    assert guarded.recent.size <= guarded.CACHE


def test_a_store_that_is_opened_again_is_read_again(tmp_path):
    from unet_data.io.stores import remote

    image = Path("memory://again/image.ome.zarr")
    try:
        for value in (7, 9):
            large_image(tmp_path / f"{value}/image.ome.zarr", CHUNK, value)
            for file in (tmp_path / str(value)).rglob("*"):
                if file.is_file():
                    remote.write(image.parent / file.relative_to(tmp_path / str(value)), file.read_bytes())
            assert (np.asarray(open_stored(image).images[0]) == value).all()
    finally:
        remote.remove(image.parent)


@pytest.mark.slow
def test_training_on_a_url_reaches_the_losses_of_a_file(few_statistics, tmp_path):
    pytest.importorskip("jax")
    pytest.importorskip("grain")
    from unet_tools.cli import main

    large_image(tmp_path / "image.ome.zarr", 2 * SIDE)
    losses = {}
    with serving(tmp_path) as (url, sent):
        for data, workers in ((url, "0"), (url, "1"), (tmp_path, "0")):
            sent.clear()
            source, out = shown(data / "image.ome.zarr"), tmp_path / f"run{len(losses)}"
            assert main(["train", source, "--out", str(out), *WORDS.split(), "--workers", workers]) == 0
            records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
            losses[source, workers] = [(r["step"], r.get("loss"), r.get("iou")) for r in records]
            assert json.loads((out / "run.json").read_text())["path"] == source
            bound = 0 if data is tmp_path else 0.6 if workers == "0" else 0.8  # a worker has chunks of its own
            assert of_the_image(sent) <= bound * (2 * SIDE) ** 2
    assert len(losses) == 3
    assert len(set(map(tuple, losses.values()))) == 1, losses
