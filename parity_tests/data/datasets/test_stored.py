"""A data set whose images stay in their files: the very batches, statistics and weights of the one in memory."""

import os
import pickle

import numpy as np
import pytest
import tifffile

import unet_data.datasets.stored as stored_module
import unet_data.windows as tiles_module
from unet_data import (
    Normalization,
    Sampler,
    membrane_instances,
    membranes,
    open_dataset,
    open_stored,
    split,
    write_stack,
)
from unet_data.datasets.border_weights import weight_maps
from unet_data.datasets.stored import Stored, stored_pictures
from unet_data.datasets.window_weights import connected_cells, window_weights
from unet_data.metrics.evaluate import measure
from unet_spec import DataSpec, InputError, preset

DATA = membranes(4, (52, 61), 0)
CELLS = membrane_instances(4, (52, 61), 0)


def write(folder, kind="png", instances=False):
    """The four pictures, one file each or as one stack, in the given format; labels 0/255 or numbers of cells."""
    labels = [c.astype(np.uint16) for c in CELLS] if instances else [y.astype(np.uint8) * 255 for y in DATA.labels]
    if kind == "stack":
        folder.mkdir()
        options = {"photometric": "minisblack", "tile": (32, 16), "compression": "zlib"}
        tifffile.imwrite(folder / "a-volume.tif", np.stack(DATA.images)[..., 0], **options)
        tifffile.imwrite(folder / "a-labels.tif", np.stack(labels), **options)
        return folder
    for name, arrays in (("images", DATA.images), ("labels", labels)):
        (folder / name).mkdir(parents=True)
        for i, array in enumerate(arrays):
            path = folder / name / f"{i}.{kind}"
            if kind in ("png", "tif"):
                write_stack(path, array[None])
            elif kind == "npy":
                np.save(path, array)
            else:
                zarr = pytest.importorskip("zarr")
                zarr.create_array(str(path), data=np.squeeze(array), chunks=(16, 16))
    return folder


def in_memory(path, kind):
    if kind in ("png", "tif", "stack"):
        return open_dataset(path)
    return membranes(4, (52, 61), 0)


@pytest.mark.parametrize("kind", ["png", "tif", "stack", "npy", "zarr"])
def test_the_batches_are_those_of_the_data_in_memory(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(tiles_module, "BAND", 300)
    path = write(tmp_path / "data", kind)
    whole, windows = in_memory(path, kind), open_stored(path)
    assert all(isinstance(x, Stored) for x in (*windows.images, *windows.labels))
    if kind in ("png", "tif", "stack"):
        assert (windows.names, windows.class_names, windows.source) == (whole.names, whole.class_names, whole.source)
    (one, rest), (other, left) = split(whole), split(windows)
    np.testing.assert_array_equal(left.images[0], rest.images[0])
    assert Normalization.from_dataset(other) == Normalization.from_dataset(one)
    weights = weight_maps(one, 10, 5, True, tmp_path / "c"), window_weights(other, 10, 5, True, tmp_path / "c")
    samplers = [Sampler(d, (72, 44), (40, 20), 3, 7, w) for d, w in zip((one, other), weights, strict=True)]
    samplers[1] = pickle.loads(pickle.dumps(samplers[1]))  # as it reaches another process
    for step in range(6):
        for a, b in zip(*(s.batch(step) for s in samplers), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
    assert [(a.shape, a.dtype) for a in samplers[1].batch(0)] == samplers[0].shapes() == samplers[1].shapes()


def test_validation_reads_one_image_at_a_time_and_scores_the_same(tmp_path):
    """A network that only crops: its scores are those of a threshold on the images."""
    path = write(tmp_path / "data", "tif", instances=True)
    config = preset("paper", widths=(2, 4))
    margin = config.geometry.margin()

    def run(windows):
        x = windows[:, margin:-margin, margin:-margin]
        return np.concatenate([-x, x], axis=-1)

    found = [
        measure(run, config, DataSpec((0.4,), (0.2,)), d, objects=True) for d in (open_dataset(path), open_stored(path))
    ]
    assert found[0] == found[1]
    assert 0.5 < found[0]["v_rand"] < 1


def test_numbered_cells_stay_numbered(tmp_path):
    path = write(tmp_path / "data", "tif", instances=True)
    whole, windows = open_dataset(path), open_stored(path)
    assert windows.source == whole.source
    for a, b in zip(whole.instances, windows.instances, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(weight_maps(whole, 9, 4, False, tmp_path), window_weights(windows, 9, 4, False, None), strict=True):
        np.testing.assert_array_equal(b[10:40, 5:9], a[10:40, 5:9])


def test_cells_that_touch_are_separated_in_windows_as_in_memory(tmp_path):
    grown = [np.kron(c[::4, ::4] * 7 + 1, np.ones((4, 4), int))[:52, :61].astype(np.uint16) for c in CELLS]
    for name, arrays in (("images", DATA.images), ("labels", grown)):
        (tmp_path / name).mkdir()
        for i, array in enumerate(arrays):
            write_stack(tmp_path / name / f"{i}.tif", array[None])
    whole, windows = open_dataset(tmp_path), open_stored(tmp_path)
    assert 0.05 < np.mean([(n == 0).mean() for n in whole.instances]) < 0.6
    for kind in ("labels", "instances"):
        for a, b in zip(getattr(whole, kind), getattr(windows, kind), strict=True):
            np.testing.assert_array_equal(a, b)
            for at in ((slice(0, 8), slice(0, 8)), (slice(3, 12), slice(40, 61)), (slice(44, 52), slice(57, 61))):
                np.testing.assert_array_equal(a[at], b[at])


def test_volumes_and_their_split_by_depth(tmp_path, monkeypatch):
    monkeypatch.setattr(tiles_module, "BAND", 1000)
    data = membranes(1, (12, 24, 28), 1, spatial_dims=3)
    tifffile.imwrite(tmp_path / "v-volume.tif", data.images[0][..., 0], photometric="minisblack", tile=(16, 16))
    tifffile.imwrite(tmp_path / "v-labels.tif", data.labels[0].astype(np.uint8), photometric="minisblack")
    for one, other in zip(split(open_dataset(tmp_path, 3)), split(open_stored(tmp_path, 3)), strict=True):
        assert one.names == other.names
        np.testing.assert_array_equal(one.images[0], other.images[0])
        np.testing.assert_array_equal(one.labels[0], other.labels[0])
        maps = [make(d, 10, 3, True, tmp_path)[0] for make, d in ((weight_maps, one), (window_weights, other))]
        at = (slice(0, 2), slice(3, 20), slice(1, 9))
        np.testing.assert_array_equal(maps[0][at], maps[1][at])


def test_open_files_keep_to_the_budget(tmp_path, monkeypatch):
    path = write(tmp_path / "data")
    monkeypatch.setattr(stored_module, "BUDGET", 2 * 52 * 61)
    monkeypatch.setattr(stored_module, "_files", stored_module._Files())
    data = open_stored(path)
    for _ in range(2):
        for a, b in zip(data.images, DATA.images, strict=True):
            np.testing.assert_array_equal(a, b)
    assert sum(pictures[0].held for pictures in stored_module._files._open.values()) <= 2 * 52 * 61


def test_refusals(tmp_path):
    path = write(tmp_path / "data", "npy")
    os.remove(path / "labels" / "2.npy")
    with pytest.raises(InputError, match=r"2\.npy: has no label"):
        open_stored(path)
    np.save(path / "labels" / "2.npy", np.zeros((52, 60), np.uint8))
    with pytest.raises(InputError, match="52x61 but its label is 52x60"):
        open_stored(path)
    np.save(path / "labels" / "2.npy", np.full((52, 61), 0.5))
    with pytest.raises(InputError, match="not all whole numbers"):
        open_stored(path)
    np.save(path / "labels" / "2.npy", np.stack([DATA.labels[2]] * 2))
    with pytest.raises(InputError, match="has 1 pictures but its label"):
        open_stored(path)
    (path / "labels" / "2.npy").write_bytes((path / "labels" / "1.npy").read_bytes()[:900])
    with pytest.raises(InputError, match="is incomplete"):
        open_stored(path)
    with pytest.raises(InputError, match="has no label; reading by windows"):
        open_stored(path / "images")
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(InputError, match="set UNET_CACHE"):
        connected_cells(DATA.labels[0], blocked / "x")


def test_a_window_that_is_damaged_is_one_line(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, tile=(32, 32), compression="zlib")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        at = tiff.pages[0].dataoffsets[3]
    content[at : at + 40] = bytes(40)
    (tmp_path / "a.tif").write_bytes(content)
    for role in ("image", "label"):
        (picture,) = stored_pictures(tmp_path / "a.tif", 2, role)
        np.testing.assert_array_equal(np.squeeze(picture[0:32, 0:32]), image[:32, :32])
        with pytest.raises(InputError, match="damaged"):
            picture[32:64, 32:64]
