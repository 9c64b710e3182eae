"""The store of tiles: room on the disk, tiles of another run, parts for several processes."""

import shutil

import numpy as np
import pytest

from unet_data.inference.store import begin, check_room, shard
from unet_spec import InputError

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
