"""The checkpoint folder: whole or not at all, and every way in which it can be wrong."""

from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors

CONFIG = preset("article", widths=(2, 3))


@pytest.fixture
def folder(tmp_path):
    data = DataSpec((0.4,), (0.2,), ("membrane", "cell"))
    Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0), data).save(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_what_is_saved_is_loaded_bit_for_bit(folder):
    loaded, tensors = Checkpoint.load(folder), random_tensors(CONFIG.graph, 0)
    assert loaded.config == CONFIG
    assert loaded.data == DataSpec((0.4,), (0.2,), ("membrane", "cell"))
    assert list(loaded.tensors) == list(CONFIG.graph.params)
    assert all(loaded.tensors[name].tobytes() == t.tobytes() for name, t in tensors.items())
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_a_view_is_stored_as_what_it_shows(folder, tmp_path):
    """safetensors writes the memory behind a non-contiguous view."""
    tensors = {n: np.ascontiguousarray(t.T).T for n, t in random_tensors(CONFIG.graph, 0).items()}
    assert not all(t.flags.c_contiguous for t in tensors.values())
    Checkpoint(CONFIG, tensors).save(tmp_path / "other")
    assert all((load_file(tmp_path / "other/model.safetensors")[n] == t).all() for n, t in tensors.items())


def test_the_digest_follows_every_bit(folder):
    loaded = Checkpoint.load(folder)
    assert loaded.digest() == Checkpoint.load(folder).digest()
    changed = {n: t.copy() for n, t in loaded.tensors.items()}
    changed["head.bias"].view(np.uint8)[0] ^= 1
    assert dataclasses.replace(loaded, tensors=changed).digest() != loaded.digest()
    other = dataclasses.replace(loaded, config=CONFIG.replace(activation="elu"))
    assert other.digest() != loaded.digest()


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: edit_tensors(f, lambda t: t.pop("head.bias")), "1 missing: head.bias"),
        (lambda f: edit_tensors(f, lambda t: t.update(extra=np.zeros(1))), "1 not part of this network: extra"),
        (lambda f: edit_tensors(f, lambda t: t.update({"head.bias": np.zeros(9)})), "head.bias (9,), not (1,)"),
        (lambda f: edit_config(f, depth=3), "unknown key 'depth'"),
        (lambda f: edit_config(f, widths=[2, 4]), "with another shape"),
        (lambda f: edit_config(f, data={"mean": [1]}), "data.mean has 1 numbers, data.std 0"),
        (lambda f: edit_config(f, data={"mean": [1], "std": [0]}), "data.std above zero"),
        (lambda f: edit_config(f, data={"mean": [1, 2], "std": [1, 1]}), "2 numbers for 1 channels"),
        (lambda f: edit_config(f, data={"class_names": ["a"]}), "1 class names for 2 classes"),
        (lambda f: edit_config(f, data={"class_names": [1, 2]}), "must be a list of names"),
        (lambda f: edit_config(f, data=[]), "'data' must be an object"),
        (lambda f: (f / "config.json").write_text("{"), "not valid JSON"),
        (lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), "not valid JSON"),
        (lambda f: (f / "config.json").unlink(), "it has no config.json"),
        (lambda f: (f / "model.safetensors").unlink(), "it has no model.safetensors"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "not a readable safetensors file"),
        (lambda f: (f / "model.safetensors").write_text("hello, world, hello"), "not a readable safetensors file"),
        (lambda f: os.truncate(f / "model.safetensors", 900), "not a readable safetensors file"),
    ],
)
def test_damage_is_one_clear_line(folder, damage, words):
    damage(folder)
    with pytest.raises(InputError) as caught:
        Checkpoint.load(folder)
    assert words in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_folder_points_to_its_checkpoint(folder):
    folder.rename(folder.parent / "best")
    with pytest.raises(InputError, match=r"did you mean .*best"):
        Checkpoint.load(folder.parent)
    with pytest.raises(InputError, match="no such folder"):
        Checkpoint.load(folder.parent / "nowhere")


def test_the_readme_of_a_folder_that_is_no_checkpoint_is_not_replaced(folder, tmp_path):
    """save_pretrained(".") in a project."""
    point = Checkpoint.load(folder)
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(InputError, match=r"would replace the README\.md of a folder that is no checkpoint; give a new"):
        point.save(tmp_path, {"README.md": "card"})
    assert {p.name for p in tmp_path.iterdir()} == {"README.md", "checkpoint"}
    assert (tmp_path / "README.md").read_text() == "mine"
    for text in ("card", "another"):
        point.save(folder, {"README.md": text})
        assert (folder / "README.md").read_text() == text


def test_a_file_is_not_a_folder(folder):
    with pytest.raises(InputError, match=r"it is a file; give its folder, .*checkpoint$"):
        Checkpoint.load(folder / "model.safetensors")
    (folder.parent / "weights.pth").touch()
    with pytest.raises(InputError, match=r"it is a file; unet convert .*weights\.pth FOLDER makes a checkpoint"):
        Checkpoint.load(folder.parent / "weights.pth")


def test_nothing_is_left_of_a_failed_write(folder, monkeypatch):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(InputError, match="No space left on device"):
        Checkpoint.load(folder).save(folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_a_new_folder_appears_whole_or_not_at_all(folder, tmp_path, monkeypatch):
    new, seen = tmp_path / "new", []
    write = type(new).write_bytes

    def watched(path, content):
        seen.append(new.exists())
        if len(seen) == 2:
            raise OSError(28, "No space left on device")
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_bytes", watched)
        with pytest.raises(InputError, match="No space left on device"):
            Checkpoint.load(folder).save(new)
    assert seen == [False, False]
    assert not [path for path in tmp_path.iterdir() if "new" in path.name]
    Checkpoint.load(folder).save(new)
    assert Checkpoint.load(new).digest() == Checkpoint.load(folder).digest()


def test_tensors_of_another_network_are_not_saved(tmp_path):
    with pytest.raises(InputError, match="do not match the config"):
        Checkpoint(preset("paper", widths=(2, 3)), random_tensors(CONFIG.graph, 0)).save(tmp_path / "x")
    assert not (tmp_path / "x").exists()
