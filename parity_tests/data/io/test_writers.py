"""Results written by windows: whole or absent, also on a full disk."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unet_data import read_stack
from unet_data.inference.store import TileStore
from unet_data.io.writers import check_no_inputs, check_not_input, check_target
from unet_spec import PRESETS, InputError
from unet_spec.tiling.tiles import plan_tiles

from ...fixtures.full_disk import files_of_at_most
from ..inference.filled_store import filled

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("suffix", ["tif", "npy", "png", "zarr"])
@pytest.mark.parametrize(
    ("dtype", "values"), [(np.uint8, ()), (np.float16, (2,)), (np.float32, (3,))], ids=["labels", "half", "float"]
)
def test_a_result_is_written_by_windows(suffix, dtype, values, tmp_path, monkeypatch):
    monkeypatch.setattr("unet_data.io.writers.WHOLE_BELOW", 0)
    if suffix == "zarr":
        pytest.importorskip("zarr")
    store, whole = filled(tmp_path, dtype, values)
    path = tmp_path / f"out.{suffix}"
    if suffix == "png" and values:
        with pytest.raises(InputError, match="PNG cannot store"):
            check_target(path, False, np.dtype(dtype), values, 1, 2)
        return
    check_target(path, False, np.dtype(dtype), values, 1, 2)
    store.write(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["part", path.name]), "something was left"
    if suffix == "npy":
        found = np.load(path)
    elif suffix == "zarr":
        import zarr

        found = np.asarray(zarr.open(str(path), mode="r")[:])  # type: ignore[index]
    else:
        found = read_stack(path)[0].reshape(whole.shape)
    assert np.array_equal(found, whole)


def test_the_pyramid_holds_every_second_pixel(tmp_path, monkeypatch):
    monkeypatch.setattr("unet_data.io.writers.WHOLE_BELOW", 0)
    store, whole = filled(tmp_path, np.uint8, size=(2601, 1107))
    store.write(tmp_path / "o.tif")
    with tifffile.TiffFile(tmp_path / "o.tif") as tiff:
        levels = [level.asarray() for level in tiff.series[0].levels]
    assert len(levels) == 3
    for k, level in enumerate(levels):
        assert np.array_equal(level, whole[:: 2**k, :: 2**k])


def test_a_full_disk_leaves_the_tiles_and_no_result(tmp_path, monkeypatch):
    store, _ = filled(tmp_path, np.uint8)

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="the disk is full"):
        store.write(tmp_path / "o.npy")
    with pytest.raises(InputError, match=r"the disk is full.*free disk space and run the same command again"):
        store.put(0, np.zeros(store.plan[0].target[0].stop, np.uint8))
    assert [p.name for p in tmp_path.iterdir()] == ["part"]
    assert len(store.done()) == len(store)


@pytest.mark.parametrize("suffix", ["npy", "tif", "png", "zarr"])
def test_what_could_not_be_written_whole_is_not_there(suffix, tmp_path):
    """Small files too, which a system's buffers take in whole before the disk refuses them."""
    if suffix == "zarr":
        pytest.importorskip("zarr")
    store, whole = filled(tmp_path, np.uint8, size=(97, 71))
    store.path(0).unlink()
    tile = whole[store.plan[0].target]
    with files_of_at_most(1000), pytest.raises(InputError, match="cannot be written: the disk is full"):
        store.put(0, tile)
    assert 0 not in store.done()
    store.put(0, tile)
    with files_of_at_most(1000), pytest.raises(InputError, match="cannot be written"):
        store.write(tmp_path / f"o.{suffix}")
    assert [p.name for p in tmp_path.iterdir()] == ["part"]


@pytest.mark.parametrize("damage", ["cut", "of another shape", "missing"])
def test_a_damaged_tile_is_named(damage, tmp_path):
    store, _ = filled(tmp_path, np.uint8)
    path = store.path(3)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "missing":
        path.unlink()
    else:
        np.save(path, np.zeros((3, 3), np.uint8))
    (store.folder / "notes.npy").write_bytes(b"somebody else's")
    assert len(store.done()) == len(store) - (damage == "missing")
    with pytest.raises(InputError, match=r"0000003\.npy: is damaged; delete it"):
        store.write(tmp_path / "o.npy")
    assert not (tmp_path / "o.npy").exists()


@pytest.mark.parametrize("whole_below", [0, 2**26])
def test_every_volume_is_in_the_file(whole_below, tmp_path, monkeypatch):
    monkeypatch.setattr("unet_data.io.writers.WHOLE_BELOW", whole_below)
    config = PRESETS["same"].replace(widths=(2, 3), spatial_dims=3)
    plan = plan_tiles(config.geometry, (7, 70, 50), 40)
    store = TileStore(tmp_path, plan, 2, (), np.dtype(np.uint8))
    whole = RNG.integers(0, 200, (2, 7, 70, 50)).astype(np.uint8)
    for number in range(len(store)):
        volume, tile = divmod(number, len(plan))
        store.put(number, whole[volume][plan[tile].target])
    store.write(tmp_path / "o.tif")
    assert np.array_equal(read_stack(tmp_path / "o.tif")[..., 0], whole.reshape(14, 70, 50))
    with pytest.raises(InputError, match="PNG cannot store a volume"):
        check_target(tmp_path / "o.png", False, np.dtype(np.uint8), (), 1, 3)


def test_only_a_zarr_folder_that_a_prediction_wrote_is_replaced(tmp_path):
    zarr = pytest.importorskip("zarr")
    store, _ = filled(tmp_path, np.uint8)
    path = tmp_path / "o.zarr"

    def replaced():
        check_target(path, True, np.dtype(np.uint8), (), 1, 2)
        store.write(path)

    store.write(path)
    replaced()
    (path / "notes.txt").write_text("precious")
    with pytest.raises(InputError, match="is not a result of a prediction, or contains more"):
        replaced()
    assert (path / "notes.txt").read_text() == "precious"
    shutil.rmtree(path)
    zarr.create_array(path, shape=(4, 4), chunks=(4, 4), dtype="u1")  # as earlier versions wrote it, or anybody
    with pytest.raises(InputError, match=r"is not marked as a result of a prediction, so it is not replaced"):
        replaced()
    for make in (
        lambda: zarr.create_array(path, shape=(4, 4), chunks=(4, 4), dtype="u1", attributes={"writer": "other"}),
        lambda: path.mkdir(),
        lambda: path.symlink_to(tmp_path / "part"),
    ):
        shutil.rmtree(path)
        make()
        with pytest.raises(InputError, match="not a result of a prediction"):
            replaced()
        if path.is_symlink():
            path.unlink()
            path.mkdir()


def test_an_image_is_never_its_own_result(tmp_path):
    image, link, hard, folder = (tmp_path / n for n in ("a.tif", "l.tif", "h.tif", "i.zarr"))
    image.write_bytes(b"x")
    link.symlink_to(image)
    hard.hardlink_to(image)
    (tmp_path / "sub").mkdir()
    folder.mkdir()
    for target in (image, link, hard, tmp_path / "sub/../a.tif"):
        with pytest.raises(InputError, match=r"is the image .* itself"):
            check_not_input(target, [folder, image])
    with pytest.raises(InputError, match="lies in the image"):
        check_not_input(folder / "r.tif", [image, folder])
    check_not_input(tmp_path / "b.tif", [image, folder])


def test_many_results_are_compared_with_many_images_in_linear_time(tmp_path, monkeypatch):
    images = [tmp_path / f"{n}.png" for n in range(50)]
    for image in images:
        image.write_bytes(b"x")
    results = [tmp_path / "out" / image.name for image in images]
    resolved, own = [], Path.resolve
    monkeypatch.setattr(Path, "resolve", lambda path, *args: resolved.append(path) or own(path, *args))
    check_no_inputs(results, images)
    assert len(resolved) <= 2 * (len(images) + len(results))
    with pytest.raises(InputError, match=r"is the image .*7.png itself"):
        check_no_inputs([*results, images[7]], images)
