"""Keras files: round trips, and files with false declarations."""

from __future__ import annotations

import json
import zipfile

import h5py
import numpy as np
import pytest

from unet_spec import InputError
from unet_tools.cli import main
from unet_tools.conversion import keras_files
from unet_tools.conversion.keras_files import _named, _number, read_keras, write_keras
from unet_tools.conversion.tensor_files import read_files

from ...fixtures.sources.recorded import arrays

# Keras


def keras_h5(path, name="keras_h5"):
    """A file in the older format of Keras 2."""
    tensors = arrays(name)
    layers = [f"conv2d_{i}" if i else "conv2d" for i in range(len(tensors) // 2)]
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [layer.encode() for layer in ["input_1", *layers]]
        group.create_group("input_1").attrs["weight_names"] = np.zeros(0)
        for i, layer in enumerate(layers):
            for leaf in ("kernel", "bias"):
                group.create_dataset(f"{layer}/{layer}/{leaf}:0", data=tensors[f"{i}.{leaf}"])
    return tensors


def test_keras_2_there_and_back(tmp_path):
    tensors = keras_h5(tmp_path / "w.h5")
    assert main(["convert", str(tmp_path / "w.h5"), str(tmp_path / "ours")]) == 0
    assert main(["convert", str(tmp_path / "ours"), str(tmp_path / "back.h5"), "--to", "keras"]) == 0
    with h5py.File(tmp_path / "w.h5") as a, h5py.File(tmp_path / "back.h5") as b:
        names: list[str] = []
        a.visit(names.append)
        again: list[str] = []
        b.visit(again.append)
        assert names == again
        layers = [
            [str(n, "utf8") if isinstance(n, bytes) else n for n in f["model_weights"].attrs["layer_names"]]
            for f in (a, b)
        ]
        assert layers[0] == layers[1]
        place = "model_weights/conv2d_3/conv2d_3/kernel:0"
        assert a[place][()].tobytes() == b[place][()].tobytes() == tensors["3.kernel"].tobytes()


def test_a_keras_file_that_lies_is_refused(tmp_path):
    keras_h5(tmp_path / "other.h5")
    place = "model_weights/conv2d/conv2d/kernel:0"
    keras_h5(tmp_path / "link.h5")
    with h5py.File(tmp_path / "link.h5", "a") as file:
        del file[place]
        file[place] = h5py.ExternalLink("other.h5", place)
    tensors = read_files(tmp_path / "link.h5").tensors
    assert "0.kernel" not in tensors  # a link to another file is not followed
    assert main(["convert", str(tmp_path / "link.h5"), str(tmp_path / "ours")]) == 2

    keras_h5(tmp_path / "huge.h5")
    with h5py.File(tmp_path / "huge.h5", "a") as file:
        del file[place]
        file.create_dataset(place, (3, 3, 1 << 20, 1 << 20), np.float32, chunks=(3, 3, 64, 64))  # 36 TB, none written
    with pytest.raises(InputError, match="declares more data than the file holds"):
        read_files(tmp_path / "huge.h5")

    keras_h5(tmp_path / "packed.h5")
    with h5py.File(tmp_path / "packed.h5", "a") as file:
        del file[place]
        file.create_dataset(place, data=np.zeros((3, 3, 1, 3), np.float32), compression="gzip")
    with pytest.raises(InputError, match="is not a plain array of floats"):
        read_files(tmp_path / "packed.h5")

    content = (tmp_path / "other.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="not a readable Keras file"):
        read_files(tmp_path / "cut.h5")
    (tmp_path / "no.keras").write_text("no zip")
    with pytest.raises(InputError, match="not a readable Keras file"):
        read_files(tmp_path / "no.keras")


def layers(count):
    """Kernels and biases of many layers, each with a value of its own."""
    return {
        f"{index}.{leaf}": np.full(shape, index + extra, np.float32)
        for index in range(count)
        for leaf, shape, extra in (("kernel", (3, 3, 2, 2), 0.0), ("bias", (2,), 0.5))
    }


def test_the_newer_format_numbers_its_layers(tmp_path):
    """Twelve layers: conv2d_10 comes after conv2d_9, not after conv2d_1."""
    write_keras(layers(12), {}, tmp_path / "w.weights.h5")
    with h5py.File(tmp_path / "w.weights.h5") as file:
        assert file["layers/conv2d/vars/0"].shape == (3, 3, 2, 2)
        assert file["layers/conv2d_10/vars/1"][()].tolist() == [10.5, 10.5]
    tensors, extra = read_keras(tmp_path / "w.weights.h5")
    assert list(tensors) == list(layers(12))
    assert all((tensors[name] == value).all() for name, value in layers(12).items())
    assert "model_config" not in extra


def test_a_keras_archive_there_and_back(tmp_path):
    files = {"config.json": json.dumps({"class_name": "Functional", "n": 3}), "metadata.json": "{}"}
    write_keras(layers(2), {"files": files, "groups": ["empty"]}, tmp_path / "a.keras")
    tensors, extra = read_keras(tmp_path / "a.keras")
    assert extra["model_config"] == {"class_name": "Functional", "n": 3}
    assert extra["files"] == files
    assert "empty" in extra["groups"]
    write_keras(tensors, extra, tmp_path / "b.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as one, zipfile.ZipFile(tmp_path / "b.keras") as other:
        assert one.namelist() == other.namelist() == ["config.json", "metadata.json", "model.weights.h5"]
        assert {n: one.read(n) for n in files} == {n: other.read(n) for n in files}
    with pytest.raises(InputError, match=r"needs Keras' own description of the network.* write a \.h5"):
        write_keras(tensors, {}, tmp_path / "c.keras")
    assert not (tmp_path / "c.keras").exists()


def test_an_archive_that_unpacks_to_more_than_its_size_is_refused(tmp_path):
    write_keras(layers(1), {"files": {"config.json": "{}"}}, tmp_path / "a.keras")
    with zipfile.ZipFile(tmp_path / "a.keras") as archive:
        inner = archive.read("model.weights.h5")
    with zipfile.ZipFile(tmp_path / "packed.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", inner)
    with pytest.raises(InputError, match="a zip whose entries unpack to more than its size"):
        read_keras(tmp_path / "packed.keras")
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(InputError, match="not a readable Keras file"):
        read_keras(tmp_path / "empty.keras")


def test_attributes_are_kept_that_are_texts(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset("a/vars/0", data=np.zeros(2, np.float32))
        file.attrs["note"] = "text"
        file.attrs["words"] = ["one", "two"]
        file.attrs["count"] = 3
    assert read_keras(tmp_path / "w.h5")[1]["attributes"]["/"] == {"note": "text", "words": ["one", "two"]}


def test_layers_are_numbered_by_name_then_by_their_number():
    places = ["layers/conv2d_10/vars", "layers/batch_2", "conv2d", "a/conv2d_2", "layers/conv2d_x", "conv2d_transpose"]
    assert [_number(place) for place in places] == [
        ("conv2d", 10), ("batch", 2), ("conv2d", 0), ("conv2d", 2), ("conv2d_x", 0), ("conv2d_transpose", 0),
    ]  # fmt: skip


@pytest.mark.parametrize("root", ["", "model_weights/"])
def test_the_order_of_the_layers_is_the_one_that_the_file_lists(root):
    """A layer without tensors has no number; a name that begins another name is another layer."""
    listed = {root.rstrip("/") or "/": {"layer_names": ["b", "input", "a", "ab"]}}
    places = [f"{root}{p}" for p in ("a/a/kernel:0", "ab/ab/bias:0", "b/b/gamma:0", "b/b/bias:0")]
    assert _named(places, listed) == {
        "0.gamma": places[2], "0.bias": places[3], "1.kernel": places[0], "2.bias": places[1],
    }  # fmt: skip


def test_an_attribute_larger_than_its_file_is_refused(tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset("a/vars/0", data=np.zeros(2, np.float32))
        file["a"].attrs.create("large", np.zeros(8000, np.int8))
    texts = {"large": ["0"] * 8000}
    assert read_keras(tmp_path / "w.h5")[1]["attributes"]["a"] == texts
    with h5py.File(tmp_path / "w.h5") as file:
        assert keras_files._attributes(file["a"], 8000, tmp_path / "w.h5") == texts
        with pytest.raises(InputError, match=r"w\.h5: the attribute large declares more data than the file holds$"):
            keras_files._attributes(file["a"], 7999, tmp_path / "w.h5")


def test_a_file_may_hold_as_many_numbers_as_it_has_bytes(tmp_path):
    """Declared data may be as large as the file, and no larger."""
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset("a/vars/0", data=np.zeros(100, np.float32))
        file.create_dataset("a/vars/1", data=np.zeros(20, np.float32))
    with h5py.File(tmp_path / "w.h5") as file:
        tensors, _ = keras_files._read(file, 480, tmp_path / "w.h5")
        assert {name: t.shape for name, t in tensors.items()} == {"0.kernel": (100,), "0.bias": (20,)}
        with pytest.raises(InputError, match="declares more data than the file holds; nothing was read"):
            keras_files._read(file, 479, tmp_path / "w.h5")
