"""Windows of files, tiles on disk, results by windows: against the whole arrays."""

import errno
import os
from contextlib import contextmanager

import numpy as np
import pytest
import tifffile

from unet_data import read_stack
from unet_data.readers import open_pictures
from unet_data.stream import shard
from unet_data.stream_store import TileStore, begin, check_room
from unet_data.writers import check_target, write_mosaic
from unet_spec import PRESETS, InputError
from unet_spec.tiling import plan_tiles

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (97, 131)).astype(np.uint8)
KINDS = {
    "plain": (GREY, {}),
    "tiled": (GREY, {"tile": (32, 48), "compression": "zlib"}),
    "strips of 7 rows, BigTIFF": (
        GREY.astype(np.uint16) * 3,
        {"rowsperstrip": 7, "compression": "zlib", "bigtiff": True, "predictor": True},
    ),
    "colour": (RNG.integers(0, 255, (97, 131, 3)).astype(np.uint8), {"tile": (32, 32), "photometric": "rgb"}),
    "colour in planes": (
        RNG.integers(0, 255, (3, 97, 131)).astype(np.uint8),
        {"photometric": "rgb", "planarconfig": "separate", "tile": (32, 32), "compression": "zlib"},
    ),
    "stack": (RNG.normal(size=(5, 97, 131)).astype(np.float32), {"tile": (32, 32), "photometric": "minisblack"}),
    "big-endian stack": (RNG.normal(size=(5, 97, 131)).astype(">f4"), {"byteorder": ">", "photometric": "minisblack"}),
    "OME, channels in pages": (
        RNG.integers(0, 255, (4, 3, 97, 131)).astype(np.uint8),
        {"tile": (32, 32), "metadata": {"axes": "ZCYX"}, "photometric": "minisblack"},
    ),
}


def same_windows(pictures, whole):
    for picture, image in zip(pictures, whole, strict=True):
        assert picture.shape == image.shape
        for _ in range(6):
            ends = [sorted(RNG.choice(n + 1, 2, replace=False)) for n in picture.shape[:-1]]
            window = tuple(slice(int(a), int(b)) for a, b in ends)
            assert np.array_equal(picture[window], image[window])


@pytest.mark.parametrize("kind", KINDS)
def test_windows_of_a_tiff(kind, tmp_path):
    pixels, options = KINDS[kind]
    path = tmp_path / ("a.ome.tif" if kind.startswith("OME") else "a.tif")
    tifffile.imwrite(path, pixels, **options)
    whole = read_stack(path)
    pictures = open_pictures(path, 2, whole.shape[-1], whole_below=0)
    assert "_as_pictures" not in str(pictures[0].read), "read in one piece"
    same_windows(pictures, whole)
    if whole.shape[-1] == 1:
        same_windows(open_pictures(path, 3, 1, whole_below=0), whole[None])


def test_windows_of_a_pyramid_are_of_its_largest_level(tmp_path):
    with tifffile.TiffWriter(tmp_path / "p.ome.tif") as tiff:
        tiff.write(GREY, subifds=1, tile=(32, 32))
        tiff.write(GREY[::2, ::2], subfiletype=1, tile=(32, 32))
    same_windows(open_pictures(tmp_path / "p.ome.tif", 2, 1, whole_below=0), GREY[None, ..., None])


@pytest.mark.parametrize("axes", ["yx", "yxc", "cyx", "nyxc"])
def test_arrays_in_any_order_of_axes(axes, tmp_path):
    order = {"yx": (), "yxc": (2,), "cyx": (0,), "nyxc": (0, 3)}[axes]
    pixels = np.expand_dims(GREY, order) if axes in ("yx", "nyxc") else np.stack([GREY, GREY // 2], order[0])
    channels = pixels.shape[axes.index("c")] if "c" in axes else 1
    want = np.moveaxis(pixels, 0, -1) if axes == "cyx" else pixels
    np.save(tmp_path / "a.npy", pixels)
    same_windows(open_pictures(tmp_path / "a.npy", 2, channels), want.reshape(1, 97, 131, channels))


@pytest.mark.parametrize("form", [2, 3])
def test_windows_of_zarr(form, tmp_path):
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(str(tmp_path / "a.zarr"), shape=GREY.shape, chunks=(32, 32), dtype="u1", zarr_format=form)
    array[:] = GREY
    same_windows(open_pictures(tmp_path / "a.zarr", 2, 1), GREY[None, ..., None])


@pytest.mark.parametrize("form", [2, 3])
def test_ome_zarr_says_its_axes(form, tmp_path):
    zarr = pytest.importorskip("zarr")
    pixels = RNG.integers(0, 255, (2, 3, 1, 40, 50)).astype(np.uint8)  # t c z y x
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=form)
    for level, part in enumerate((pixels, pixels[..., ::2, ::2])):
        group.create_array(str(level), shape=part.shape, chunks=(1, 1, 1, 16, 16), dtype="u1")[:] = part
    scales = [{"axes": [{"name": n} for n in "tczyx"], "datasets": [{"path": "0"}, {"path": "1"}]}]
    group.attrs.update({"multiscales": scales} if form == 2 else {"ome": {"multiscales": scales}})
    same_windows(open_pictures(tmp_path / "a.zarr", 2, 3), np.moveaxis(pixels[:, :, 0], 1, -1))
    with pytest.raises(InputError, match="has 3 channels"):
        open_pictures(tmp_path / "a.zarr", 2, 1)


def test_damaged_files_are_one_line_each(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, tile=(32, 32), compression="zlib")
    content = (tmp_path / "a.tif").read_bytes()
    for cut in (10, 200, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.tif").write_bytes(content[:cut])
        with pytest.raises(InputError, match=r"cut\.tif: .*(damaged|cut short)"):
            open_pictures(tmp_path / "cut.tif", 2, 1, whole_below=0)
    wrong = bytearray(content)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        wrong[tiff.pages[0].dataoffsets[3] + 2] ^= 0xFF  # type: ignore[union-attr]
    (tmp_path / "bad.tif").write_bytes(wrong)
    picture = open_pictures(tmp_path / "bad.tif", 2, 1, whole_below=0)[0]
    with pytest.raises(InputError, match="the file is damaged"):
        picture[slice(0, 97), slice(0, 131)]
    with pytest.raises(InputError, match=r"has 1 channel .*the network takes 3"):
        open_pictures(tmp_path / "a.tif", 2, 3, whole_below=0)
    np.save(tmp_path / "n.npy", GREY)
    (tmp_path / "n.npy").write_bytes((tmp_path / "n.npy").read_bytes()[:-9])
    with pytest.raises(InputError, match=r"n\.npy: cannot be read"):
        open_pictures(tmp_path / "n.npy", 2, 1)
    with pytest.raises(InputError, match="no such file"):
        open_pictures(tmp_path / "none.tif", 2, 1)


def filled(tmp_path, dtype, values=(), images=1, size=(1301, 1107)):
    config = PRESETS["paper"].replace(widths=(2, 4, 6))
    plan = plan_tiles(config.geometry, size, 300)
    whole = RNG.integers(0, 200, (images, *size, *values)).astype(dtype)
    begin(tmp_path / "part", {"a": 1}, {"tile": 300})
    store = TileStore(tmp_path / "part", plan, images, values, np.dtype(dtype))
    for number in range(len(store)):
        image, tile = divmod(number, len(plan))
        store.put(number, whole[image][plan[tile].target])
    return store, whole if images > 1 else whole[0]


@pytest.mark.parametrize("suffix", ["tif", "npy", "png", "zarr"])
@pytest.mark.parametrize(
    ("dtype", "values"), [(np.uint8, ()), (np.float16, (2,)), (np.float32, (3,))], ids=["labels", "half", "float"]
)
def test_a_result_is_written_by_windows(suffix, dtype, values, tmp_path, monkeypatch):
    monkeypatch.setattr("unet_data.writers.WHOLE_BELOW", 0)
    if suffix == "zarr":
        pytest.importorskip("zarr")
    store, whole = filled(tmp_path, dtype, values)
    path = tmp_path / f"out.{suffix}"
    if suffix == "png" and values:
        with pytest.raises(InputError, match="PNG does not hold"):
            check_target(path, False, np.dtype(dtype), values, 1, 2)
        return
    check_target(path, False, np.dtype(dtype), values, 1, 2)
    write_mosaic(path, store)
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
    monkeypatch.setattr("unet_data.writers.WHOLE_BELOW", 0)
    store, whole = filled(tmp_path, np.uint8, size=(2601, 1107))
    write_mosaic(tmp_path / "o.tif", store)
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
        write_mosaic(tmp_path / "o.npy", store)
    with pytest.raises(InputError, match=r"the disk is full.*make room and run the same command again"):
        store.put(0, np.zeros(store.plan[0].target[0].stop, np.uint8))
    assert [p.name for p in tmp_path.iterdir()] == ["part"]
    assert len(store.done()) == len(store)


@contextmanager
def files_of_at_most(count):
    """Files grow to so many bytes: a real failure to write, as that of a full disk, in the midst of a file."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


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
        write_mosaic(tmp_path / f"o.{suffix}", store)
    assert [p.name for p in tmp_path.iterdir()] == ["part"]


def test_no_room_is_told_before_anything_is_computed(tmp_path, monkeypatch):
    store, _ = filled(tmp_path, np.uint8)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(InputError, match="the disk has 1 MiB left"):
        check_room(store.folder, store.bytes_needed())
    there = sum(store.path(n).stat().st_size for n in range(len(store)))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 2 * 10**9 - there})())
    check_room(store.folder, 10**9)
    with pytest.raises(InputError, match="take up to"):
        check_room(tmp_path / "new.part", 10**9)


def test_tiles_of_another_run_are_not_taken_over(tmp_path):
    store, _ = filled(tmp_path, np.uint8)
    with pytest.raises(InputError, match="another run, with another a"):
        begin(store.folder, {"a": 2}, {})


def test_the_first_of_several_processes_makes_the_plan(tmp_path):
    """Or shards on machines with less memory would lay other tiles."""
    assert begin(tmp_path / "p", {"a": 1}, {"tile": [92]}) == {"tile": [92]}
    assert begin(tmp_path / "p", {"a": 1}, {"tile": [60]}) == {"tile": [92]}
    assert [p.name for p in (tmp_path / "p").iterdir()] == ["run.json"]
    (tmp_path / "p" / "run.json").write_text("{")
    with pytest.raises(InputError, match="damaged; delete the folder"):
        begin(tmp_path / "p", {"a": 1}, {})


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
        write_mosaic(tmp_path / "o.npy", store)
    assert not (tmp_path / "o.npy").exists()


@pytest.mark.parametrize("whole_below", [0, 2**26])
def test_every_volume_is_in_the_file(whole_below, tmp_path, monkeypatch):
    monkeypatch.setattr("unet_data.writers.WHOLE_BELOW", whole_below)
    config = PRESETS["same"].replace(widths=(2, 3), spatial_dims=3)
    plan = plan_tiles(config.geometry, (7, 70, 50), 40)
    store = TileStore(tmp_path, plan, 2, (), np.dtype(np.uint8))
    whole = RNG.integers(0, 200, (2, 7, 70, 50)).astype(np.uint8)
    for number in range(len(store)):
        volume, tile = divmod(number, len(plan))
        store.put(number, whole[volume][plan[tile].target])
    write_mosaic(tmp_path / "o.tif", store)
    assert np.array_equal(read_stack(tmp_path / "o.tif")[..., 0], whole.reshape(14, 70, 50))
    with pytest.raises(InputError, match="PNG does not hold a volume"):
        check_target(tmp_path / "o.png", False, np.dtype(np.uint8), (), 1, 3)


@pytest.mark.parametrize(("count", "parts"), [(10, 1), (10, 3), (2, 5), (97, 8)])
def test_shards_meet_exactly(count, parts):
    numbers = [n for part in range(1, parts + 1) for n in shard(count, part, parts)]
    assert numbers == list(range(count))
    with pytest.raises(InputError, match="does not exist"):
        shard(count, parts + 1, parts)
