"""The store of tiles: room on the disk, tiles of another run, parts for several processes."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from unet_data.inference.store import Mosaic, TileStore, begin, begun_with, check_room, shard
from unet_spec import InputError, preset
from unet_spec.tiling.tiles import plan_tiles

from .filled_store import filled


def test_no_room_is_reported_before_anything_is_computed(tmp_path, monkeypatch):
    store, whole = filled(tmp_path, np.uint8)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(InputError, match="only 1 MiB are free on the disk"):
        check_room(store.folder, whole.nbytes)
    there = sum(store.path(n).stat().st_size for n in range(len(store)))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 2 * 10**9 - there})())
    check_room(store.folder, 10**9)
    with pytest.raises(InputError, match="need up to"):
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
    with pytest.raises(InputError, match=r"run\.json is damaged, or not from a prediction"):
        begin(tmp_path / "p", {"a": 1}, {})


@pytest.mark.parametrize(("count", "parts"), [(10, 1), (10, 3), (2, 5), (97, 8)])
def test_shards_meet_exactly(count, parts):
    numbers = [n for part in range(1, parts + 1) for n in shard(count, part, parts)]
    assert numbers == list(range(count))
    with pytest.raises(InputError, match="is not a part"):
        shard(count, parts + 1, parts)


@pytest.mark.parametrize("name", ["precious.txt", "run.jsonl", "0-0.txt"])
def test_a_folder_with_anything_else_is_nobody_s_to_fill_or_delete(tmp_path, name):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / name).write_text("precious")
    with pytest.raises(InputError, match=f"contains {name}, which is not from a prediction"):
        begin(tmp_path / "p", {"a": 1}, {"tile": [92]})
    assert [p.name for p in (tmp_path / "p").iterdir()] == [name]
    (tmp_path / "link").symlink_to(tmp_path / "p")
    (tmp_path / "file").write_text("")
    for other in ("link", "file"):
        with pytest.raises(InputError, match="is not a folder of tiles"):
            begin(tmp_path / other, {"a": 1}, {"tile": [92]})


def test_what_was_laid_into_the_folder_stays_when_it_is_removed(tmp_path):
    store, _ = filled(tmp_path, np.uint8)
    (store.folder / "notes.txt").write_text("precious")
    (store.folder / ".0-0.0123456789ab.npy").write_bytes(b"half")
    store.remove()
    assert [p.name for p in store.folder.iterdir()] == ["notes.txt"]
    (store.folder / "notes.txt").unlink()
    store.remove()
    assert not store.folder.exists()
    store.remove()


def test_an_empty_folder_and_what_a_killed_process_left_are_gone_on_with(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p/.run.json.0123456789ab").write_text("{")
    (tmp_path / "p/.00000-0000001.0123456789ab.npy").write_bytes(b"half")
    assert begin(tmp_path / "p", {"a": 1}, {"tile": [92]}) == {"tile": [92]}


def test_a_folder_that_was_taken_away_is_one_line(tmp_path):
    store, _ = filled(tmp_path, np.uint8)
    shutil.rmtree(store.folder)
    for call in (store.done, store.joined().__enter__, lambda: store.put(0, np.zeros((1, 1)))):
        with pytest.raises(InputError, match=r"was removed|cannot be"):
            call()


def test_only_the_last_of_several_processes_is_alone(tmp_path):
    store, _ = filled(tmp_path, np.uint8)
    with store.joined() as first:
        with store.joined() as second:
            assert not second()
        assert first()


PLAN = plan_tiles(preset("same", widths=(2, 2)).geometry, (11, 14), (8, 10), halo=2)


@pytest.fixture
def small(tmp_path):
    """A store of three images of 11 x 14 pixels with two values each, in tiles of different sizes, and the images."""
    whole = np.arange(3 * 11 * 14 * 2, dtype=np.int32).reshape(3, 11, 14, 2)
    begin(tmp_path / "p", {"a": 1}, {})
    store = TileStore(tmp_path / "p", PLAN, 3, (2,), np.dtype(np.int32))
    for number in range(len(store)):
        image, tile = divmod(number, len(PLAN))
        store.put(number, whole[image][PLAN[tile].target])
    return store, whole


@pytest.mark.parametrize(
    ("start", "stop", "step"),
    [((0, 0), (11, 14), 1), ((0, 0), (99, 99), 1), ((5, 6), (6, 7), 1), ((4, 0), (8, 14), 1), ((2, 3), (9, 12), 1),
     ((0, 0), (11, 14), 2), ((3, 6), (11, 14), 3), ((4, 8), (9, 13), 4), ((0, 0), (1, 1), 5), ((0, 7), (11, 14), 7)],
)  # fmt: skip
@pytest.mark.parametrize("image", [0, 2])
def test_every_window_of_the_tiles_is_that_of_the_image(small, start, stop, step, image):
    store, whole = small
    mosaic = Mosaic(store, image)
    assert (mosaic.shape, mosaic.dtype, mosaic.spatial_dims) == ((11, 14, 2), np.int32, 2)
    expected = whole[image][tuple(slice(a, b, step) for a, b in zip(start, stop, strict=True))]
    np.testing.assert_array_equal(mosaic.window(start, stop, step), expected)


def test_tiles_are_numbered_and_counted(small):
    store, _ = small
    assert len(store) == 3 * len(PLAN) > 6
    assert store.done() == set(range(len(store)))
    assert store.path(len(PLAN) + 3).name == "00001-0000003.npy"
    assert store.pixels(range(len(store))) == 3 * 11 * 14
    sizes = [store.load(n)[..., 0].size for n in range(len(PLAN))]
    assert len(set(sizes)) > 1
    assert store.pixels([len(PLAN) + 1, 0]) == sizes[1] + sizes[0]
    store.path(4).unlink()
    assert store.done() == set(range(len(store))) - {4}


@pytest.mark.parametrize(
    "tile", [None, b"", b"junk", np.zeros((1, 1, 2), np.int32), np.zeros(PLAN[1].shape, np.int64), "other dtype"]
)
def test_a_damaged_tile_is_named(small, tile):
    store, _ = small
    path, good = store.path(1), np.array(store.load(1))
    if tile is None:
        path.unlink()
    elif isinstance(tile, bytes):
        path.write_bytes(tile)
    else:
        np.save(path, good.astype(np.uint32) if isinstance(tile, str) else tile)
    with pytest.raises(InputError, match=r"00000-0000001\.npy: is damaged; delete it and run the same command again"):
        store.load(1)
    store.put(1, good.astype(np.int64))
    np.testing.assert_array_equal(store.load(1), good)


def test_the_tiles_are_written_as_images(small, tmp_path):
    store, whole = small
    store.write(tmp_path / "o.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), whole)
    store.write(tmp_path / "q.npy", images=[Mosaic(store, 1)])
    np.testing.assert_array_equal(np.load(tmp_path / "q.npy"), whole[1])


def test_a_full_disk_says_that_finished_tiles_are_kept(small, tmp_path, monkeypatch):
    """By a relative path: a message is cut in the middle where it is longer than 300 characters."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.chdir(tmp_path)
    store = TileStore(Path("p"), PLAN, 3, (2,), np.dtype(np.int32))
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"disk is full .*; finished tiles are kept .*p: free disk space and run"):
        store.put(1, np.zeros((2, 2, 2)))


def test_an_unfinished_result_knows_its_runtime(tmp_path):
    assert begun_with(tmp_path / "o.tif") is None
    begin(tmp_path / "o.tif.part", {"runtime": "jax"}, {})
    assert begun_with(tmp_path / "o.tif") == "jax"
    (tmp_path / "o.tif.part/run.json").write_text("[]")
    assert begun_with(tmp_path / "o.tif") is None


def test_the_message_names_every_setting_that_differs(tmp_path):
    begin(tmp_path / "p", {"a": 1, "b": 2, "c": [3]}, {})
    begin(tmp_path / "p", {"a": 1, "b": 2, "c": (3,)}, {})
    with pytest.raises(InputError, match="with another b, d, c;"):
        begin(tmp_path / "p", {"a": 1, "b": 3, "d": 1}, {})


def test_the_room_is_that_of_twice_the_result(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 200})())
    check_room(tmp_path / "a/b/p", 100)
    with pytest.raises(InputError, match=f"^{tmp_path}/a/b: the tiles and the result need up to"):
        check_room(tmp_path / "a/b/p", 101)
    check_room(Path("s3://bucket/p"), 10**15)


def test_shards_are_numbered_from_1():
    assert shard(7, 1, 1) == range(7)
    for part, parts in ((0, 2), (-1, 2), (3, 2), (1, 0), (0, 0)):
        with pytest.raises(InputError, match=f"--shard {part}/{parts} is not a part; give i/n with i from 1 to n"):
            shard(10, part, parts)
