"""Plates, wells and label images: found by their metadata, as images and as a data set."""

from pathlib import Path

import numpy as np
import pytest

zarr = pytest.importorskip("zarr", reason="zarr is not installed")

from unet_data import open_dataset
from unet_data.folders.layout import find_layout
from unet_data.io.stores.hcs import fields, label_images

from ..formats.test_encode_zarr import ome_zarr
from ..helpers import noise, refused

WELLS = ("A/1", "B/2")


def marked(path: Path, version: int, **metadata):
    group = zarr.create_group(path, zarr_format=version)
    group.attrs.update(metadata if version == 2 else {"ome": {"version": "0.5", **metadata}})


def plate(path: Path, version: int = 3, labelled: bool = True) -> dict[str, np.ndarray]:
    """A plate of two wells with two fields each; returns the images by their place."""
    marked(path, version, plate={"wells": [{"path": well} for well in WELLS]})
    images = {}
    for well in WELLS:
        marked(path / well, version, well={"images": [{"path": "0"}, {"path": "1"}]})
        for name in ("0", "1"):
            place = f"{well}/{name}"
            images[place] = noise(32, 32, seed=len(images))
            ome_zarr(path / place, "yx", [images[place]], version)
            if labelled:
                marked(path / place / "labels", version, labels=["cells", "other"])
                for label in ("cells", "other"):
                    ome_zarr(path / place / "labels" / label, "yx", [(images[place] > 127).astype(np.uint8)], version)
    return images


@pytest.mark.parametrize("version", [2, 3])
def test_a_plate_is_a_data_set(version, tmp_path):
    images = plate(tmp_path / "p.zarr", version)
    assert [f.relative_to(tmp_path / "p.zarr").as_posix() for f in fields(tmp_path / "p.zarr")] == list(images)
    assert [p.name for p in label_images(tmp_path / "p.zarr/A/1/0")] == ["cells", "other"]
    data = open_dataset(tmp_path / "p.zarr", 2)
    assert len(data) == 4
    assert list(data.names) == [f"p-{place.replace('/', '-')}" for place in images]
    assert data.labels is not None
    for found, labels, image in zip(data.images, data.labels, images.values(), strict=True):
        np.testing.assert_array_equal(found[..., 0], image)
        np.testing.assert_array_equal(labels, image > 127)


def test_a_well_and_an_image_are_data_sets_too(tmp_path):
    plate(tmp_path / "p.zarr")
    assert len(fields(tmp_path / "p.zarr/B/2")) == 2
    (tmp_path / "p.zarr/B/2/1").rename(tmp_path / "one.zarr")
    layout = find_layout(tmp_path / "one.zarr")
    assert [(p.name, [x.name for x in p.labels]) for p in layout.pairs] == [("one", ["cells"])]
    assert [(e.path.name, e.reason) for e in layout.entries if e.status == "left out"] == [
        ("other", "cells is the first label image")
    ]


def test_images_without_labels_are_left_out_where_others_have_some(tmp_path):
    plate(tmp_path / "p.zarr")
    ome_zarr(tmp_path / "q.zarr", "yx", [noise(32, 32)])
    layout = find_layout(tmp_path)
    assert len(layout.pairs) == 4
    assert [e.path.name for e in layout.entries if e.reason == "has no label image"] == ["q.zarr"]


def test_metadata_that_lead_outside_or_nowhere_are_refused(tmp_path):
    plate(tmp_path / "p.zarr", labelled=False)
    marked(tmp_path / "out.zarr", 3, plate={"wells": [{"path": "../p.zarr/A/1"}]})
    assert "which is not a path in it" in refused(fields, tmp_path / "out.zarr")
    marked(tmp_path / "gone.zarr", 3, plate={"wells": [{"path": "A/1"}]})
    assert "A/1: is listed as a well of the plate, but cannot be read" in refused(fields, tmp_path / "gone.zarr")
    marked(tmp_path / "empty.zarr", 3, plate={"wells": []})
    assert "its metadata list no wells" in refused(fields, tmp_path / "empty.zarr")


def test_a_plate_behind_a_url_is_the_same_data_set(tmp_path):
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    from unet_data.io.stores import remote

    plate(tmp_path / "p.zarr")
    bucket = Path("memory://plates")
    for file in (tmp_path / "p.zarr").rglob("*"):
        if file.is_file():
            remote.write(bucket / file.relative_to(tmp_path), file.read_bytes())
    try:
        far, near = open_dataset(bucket / "p.zarr", 2), open_dataset(tmp_path / "p.zarr", 2)
        assert far.names == near.names
        for ours, theirs in ((far.images, near.images), (far.labels, near.labels)):
            np.testing.assert_array_equal(np.stack(ours or ()), np.stack(theirs or ()))
    finally:
        remote.remove(bucket)
