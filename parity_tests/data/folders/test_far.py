"""TIFFs behind a URL as training data: pairs, batches and errors as of the same files here."""

from pathlib import Path

import numpy as np
import pytest

tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
pytest.importorskip("fsspec", reason="fsspec is not installed")
pytest.importorskip("aiohttp", reason="aiohttp is not installed")

from unet_data import Sampler, open_dataset, open_stored
from unet_data.datasets.splitting import divide
from unet_data.folders.layout import find_layout
from unet_data.io.stores import remote, signed
from unet_data.io.stores.remote import url_of
from unet_tools.cli import main

from ..io.helpers import noise, refused
from ..io.stores.http_server import serving

IMAGES, LABELS = noise(4, 160, 150), np.kron(noise(4, 16, 15) > 127, np.ones((1, 10, 10))).astype(np.uint8)


def written(folder):
    """A stack with labels, an image with a mask, one without, and images/ with labels/."""
    options = {"tile": (64, 64), "compression": "zlib", "photometric": "minisblack"}
    tifffile.imwrite(folder / "train-volume.tif", IMAGES, **options)
    tifffile.imwrite(folder / "train-labels.tif", LABELS * np.uint8(255), **options)
    tifffile.imwrite(folder / "a.ome.tif", IMAGES[0], **options)
    tifffile.imwrite(folder / "alone.tif", IMAGES[0], **options)
    tifffile.imwrite(folder / "one.tif", IMAGES[0], **options)
    tifffile.imwrite(folder / "one_mask.tif", LABELS[0], **options)
    for name, arrays in {"images": IMAGES, "labels": LABELS}.items():
        (folder / f"set/{name}").mkdir(parents=True)
        for number, array in enumerate(arrays):
            tifffile.imwrite(folder / f"set/{name}/{number}.tif", array, **options)
    (folder / "set/images/notes.txt").write_text("notes")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("far")
    written(folder)
    with serving(folder) as (url, sent):
        yield folder, url, sent


@pytest.fixture(scope="module")
def bucket(served):
    root = Path("memory://far")
    for file in (served[0] / "set").rglob("*"):
        if file.is_file():
            remote.write(root / file.relative_to(served[0] / "set"), file.read_bytes())
    yield root
    remote.remove(root)


def batches(dataset):
    parts = divide(dataset, "last")
    sampler = Sampler(parts.training, (92, 92), (60, 60), 2, 0)
    return [array for step in range(2) for array in sampler.batch(step)]


@pytest.mark.parametrize("opened", [open_dataset, open_stored])
def test_a_stack_behind_a_url_is_that_of_the_file(opened, served):
    folder, url, _ = served
    far, near = opened(url / "train-volume.tif"), open_dataset(folder)
    assert (far.names, far.class_names) == (near.names, near.class_names)
    assert far.facts == near.facts
    for a, b in zip(batches(far), batches(near), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("opened", [open_dataset, open_stored])
def test_a_folder_of_an_object_store_is_that_of_the_files(opened, served, bucket):
    far, near = opened(bucket), open_dataset(served[0] / "set")
    assert (
        (far.names, far.class_names) == (near.names, near.class_names) == (tuple("0123"), ("background", "foreground"))
    )
    for a, b in zip(batches(far), batches(near), strict=True):
        np.testing.assert_array_equal(a, b)
    [left] = [entry for entry in far.entries if entry.status == "left out"]
    assert (left.path.name, left.reason) == ("notes.txt", "behind a URL, only TIFF and zarr are read")


def test_an_image_has_the_mask_beside_it(served):
    _, url, sent = served
    sent.clear()
    [pair] = find_layout(url / "one.tif").pairs
    assert [path.name for path in (pair.image, *pair.labels)] == ["one.tif", "one_mask.tif"]
    assert find_layout(url / "alone.tif").pairs[0].labels == ()
    said = refused(open_stored, url / "alone.tif")
    assert said.endswith("alone.tif: has no label; reading by windows is for training, which needs labels")


def test_windows_of_a_remote_label_are_read_alone(served):
    folder, url, sent = served
    labels = open_stored(url / "train-volume.tif").labels
    sent.clear()
    assert labels[3][64:100, 64:100].shape == (36, 36)
    assert sum(sent.values()) < 0.5 * (folder / "train-labels.tif").stat().st_size


def test_missing_labels_and_folders_are_one_line(served, bucket, capsys):
    _, url, _ = served
    remote.write(bucket / "none/a.txt", b"a")
    assert "images/ and labels/" in refused(find_layout, bucket / "none")
    assert main(["data", "check", url_of(url / "gone.tif")]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("gone.tif: no such file or folder")
    assert main(["data", "check", url_of(url / "one.tif")]) in (0, 1)


def test_labels_of_a_signed_address_need_a_query_that_holds_for_them(served, monkeypatch):
    folder, _, _ = served
    monkeypatch.setattr(signed, "_secrets", {})
    with serving(folder, query="sig=5e1f") as (url, _):
        far = open_stored(f"{url_of(url / 'one.tif')}?sig=5e1f")
        np.testing.assert_array_equal(np.asarray(far.labels[0]), LABELS[0])
        said = refused(open_stored, f"{url_of(url / 'alone.tif')}?sig=5e1f")
        assert "gives access to no labels beside it; give an OME-Zarr" in said
        assert "5e1f" not in said
