"""Files and folders that appear whole or not at all, whatever stops the writer; amounts in words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unet_spec import InputError, files
from unet_spec.errors import OutputError
from unet_spec.files import exchange, format_bytes, leftovers, parse_bytes, replacing_folder, write_files, writing

from ..fixtures.full_disk import files_of_at_most


def test_amounts_are_readable():
    assert format_bytes(1610612736) == "1.50 GiB"
    assert format_bytes(5242881) == "6 MiB"


def test_amounts_are_read():
    assert [parse_bytes(text) for text in ("2GiB", "500M", "1.5 g", "1")] == [2**31, 500 * 2**20, 3 * 2**29, 1]
    for text in ("much", "0", "9" * 400, f"{'9' * 305} TiB"):  # the last two are more than a float holds
        with pytest.raises(InputError, match="is not an amount of memory"):
            parse_bytes(text)


def test_what_a_killed_process_left_is_recognised_by_its_exact_name(tmp_path):
    left = [".model.0123456789ab.safetensors", ".last.0123456789ab"]
    for name in [*left, ".model.safetensors", ".model.0123456789ab.txt", ".last.0123456789abc", "last.0123456789ab"]:
        (tmp_path / name).write_text("")
    assert sorted(path.name for path in leftovers(tmp_path, ["model.safetensors", "last"])) == sorted(left)


@pytest.fixture(params=[True, False], ids=["one step", "two steps"])
def steps(request, monkeypatch):
    """With a system that lets folders trade places, and with one that does not."""
    if not request.param:
        monkeypatch.setattr(files, "exchange", lambda one, other: False)


def fill(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("a", "b"):
        (folder / name).write_text(text)


def content(folder: Path) -> set[str]:
    return {path.read_text() for path in folder.iterdir()}


def test_folders_trade_places(tmp_path):
    fill(tmp_path / "one", "1")
    fill(tmp_path / "two", "2")
    if exchange(tmp_path / "one", tmp_path / "two"):
        assert (content(tmp_path / "one"), content(tmp_path / "two")) == ({"2"}, {"1"})
    assert not exchange(tmp_path / "one", tmp_path / "three")


@pytest.mark.usefixtures("steps")
def test_a_folder_is_replaced_and_nothing_left_beside(tmp_path):
    for text in ("old", "new"):
        with replacing_folder(tmp_path / "deep" / "out") as new:
            fill(new, text)
    assert content(tmp_path / "deep" / "out") == {"new"}
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["out"]


@pytest.mark.usefixtures("steps")
def test_a_block_that_fails_leaves_the_old_folder(tmp_path):
    fill(tmp_path / "out", "old")

    def replace(error):
        with replacing_folder(tmp_path / "out") as new:
            fill(new, "new")
            raise error

    with pytest.raises(KeyboardInterrupt):
        replace(KeyboardInterrupt())
    with pytest.raises(OutputError, match=r"cannot write .*: No space"):
        replace(OSError(28, "No space left on device"))
    assert content(tmp_path / "out") == {"old"}
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("step", range(3))
@pytest.mark.parametrize("before", [True, False])
def test_an_interrupt_at_any_rename_loses_neither_folder(step, before, tmp_path, monkeypatch):
    """In the two steps of a system without the one: before or after each rename."""
    monkeypatch.setattr(files, "exchange", lambda one, other: False)
    fill(tmp_path / "out", "old")
    rename, calls = Path.rename, []

    def interrupted(self, target):
        calls.append(self)
        if before and len(calls) == step + 1:
            raise KeyboardInterrupt
        rename(self, target)
        if len(calls) == step + 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), replacing_folder(tmp_path / "out") as new:
        fill(new, "new")
    assert content(tmp_path / "out") in ({"old"}, {"new"})
    assert len(calls) >= step + 1


def test_a_folder_that_is_somebodys_is_not_replaced(tmp_path):
    def check(path):
        if (path / "mine").exists():
            raise InputError(f"{path} is not ours")

    def replace():
        with replacing_folder(tmp_path / "out", check) as new:
            fill(new, "new")
            (tmp_path / "out" / "mine").write_text("put there meanwhile")

    fill(tmp_path / "out", "old")
    with pytest.raises(InputError, match="not ours"):
        replace()
    assert content(tmp_path / "out") == {"old", "put there meanwhile"}
    with pytest.raises(InputError, match="not ours"), replacing_folder(tmp_path / "out", check):
        pytest.fail("the check comes first")


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    fill(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with replacing_folder(tmp_path / "link") as new:
        fill(new, "new")
    write_files(tmp_path / "link", {"c": b"new"})
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real") == {"new"}


@pytest.mark.usefixtures("steps")
@pytest.mark.parametrize("inner", [True, False], ids=["with a folder", "files only"])
def test_files_of_a_folder_are_replaced_and_others_stay(inner, tmp_path):
    folder = tmp_path / "out"
    write_files(folder, {"a": b"old", "b": b"old", "gone": b"old"})
    (folder / "other").write_text("other")
    if inner:
        (folder / "inner").mkdir()
    write_files(folder, {"a": b"new", "b": b"new", "gone": None})
    assert {p.name: p.read_text() for p in folder.iterdir() if p.is_file()} == {
        "a": "new",
        "b": "new",
        "other": "other",
    }
    assert (folder / "inner").exists() == inner
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_leaves_the_old_files(tmp_path):
    folder = tmp_path / "out"
    write_files(folder, {"a": b"old", "b": b"old"})
    with files_of_at_most(1000), pytest.raises(OSError):
        write_files(folder, {"a": b"new", "b": bytes(10_000)})
    assert content(folder) == {"old"}
    with files_of_at_most(1000), pytest.raises(OutputError, match="cannot write"), writing(folder / "c") as temporary:
        temporary.write_bytes(bytes(10_000))
    assert sorted(p.name for p in (*tmp_path.iterdir(), *folder.iterdir())) == ["a", "b", "out"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_is_read_only(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"), replacing_folder(tmp_path / "out"):
        pytest.fail("there is no place")


KILLS = """
import itertools, os, signal, sys, time
from pathlib import Path
from unet_spec.files import replacing_folder, write_files

folder, way = Path(sys.argv[1]), sys.argv[2]


def write():
    for number in itertools.count():
        text = str(number).encode() * 200_000
        if way == "files":
            write_files(folder, {"a": text, "b": text})
        else:
            with replacing_folder(folder) as new:
                for name in "ab":
                    (new / name).write_bytes(text)


write_files(folder, {"a": b"0", "b": b"0"})
begun = kills = 0
while begun < 5 and kills < 300:
    if not (child := os.fork()):
        write()
    time.sleep(0.01 + 0.001 * kills)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    kills += 1
    assert {p.name for p in folder.iterdir()} == {"a", "b"}
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()
    begun = sum(path.name.startswith(".out.") for path in folder.parent.iterdir())
print(begun)
"""


@pytest.mark.parametrize("way", ["files", "folder"])
def test_a_killed_writer_leaves_one_whole_state(way, tmp_path):
    """Kills of a process that does nothing but write, until five of them left a folder half-written."""
    command = [sys.executable, "-c", KILLS, str(tmp_path / "out"), way]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stderr, done.stdout) == ("", "5\n")
