"""Files that lie, are cut short, or would run a command: refused in one line, and nothing of them is run."""

from __future__ import annotations

import os
import pickle
import zipfile

import h5py
import numpy as np
import pytest
import torch

from parity_tests.test_sources_recorded import arrays
from unet_spec import InputError
from unet_tools.cli import main
from unet_tools.source_files import read_arrays
from unet_torch.safe_load import read_file

NAME = "nnunet_plain_2d"


def state():
    return {key: torch.from_numpy(np.asarray(t)) for key, t in arrays(NAME).items()}


class Command:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("kind", ["zip", "legacy", "bare pickle", "in the model folder"])
def test_a_pickle_that_would_run_a_command_is_refused_and_nothing_runs(kind, tmp_path, capsys):
    mark, path = tmp_path / "it-ran", tmp_path / "w.pth"
    values = {**state(), "mask_values": Command(mark)}
    if kind == "bare pickle":
        path.write_bytes(pickle.dumps({"w": Command(mark)}))
    elif kind == "in the model folder":
        (tmp_path / "model" / "fold_0").mkdir(parents=True)
        for name in ("plans.json", "dataset.json"):
            (tmp_path / "model" / name).write_text("{}")
        path = tmp_path / "model"
        torch.save({"network_weights": values}, path / "fold_0" / "checkpoint_final.pth")
    else:
        torch.save(values, path, _use_new_zipfile_serialization=kind == "zip")
    assert main(["convert", str(path), str(tmp_path / "ours")]) == 2
    told = capsys.readouterr().err.strip()
    assert "nothing of it was run" in told
    assert "\n" not in told
    assert not mark.exists()
    assert not (tmp_path / "ours").exists()
    with open(tmp_path / "proof.pkl", "wb") as file:  # it is a real one: pickle itself runs it
        pickle.dump(Command(mark), file)
    with open(tmp_path / "proof.pkl", "rb") as file:
        pickle.load(file)
    assert mark.exists()


def test_numpy_scalars_are_plain_numbers_or_refused(tmp_path):
    torch.save({**state(), "mask_values": [np.float32(1.5), np.int64(3), np.int64(1 << 40)]}, tmp_path / "a.pth")
    assert list(map(type, read_file(tmp_path / "a.pth").metadata["mask_values"])) == [float, int, float]
    assert read_file(tmp_path / "a.pth").metadata["mask_values"][:2] == [1.5, 3]
    torch.save({**state(), "mask_values": np.array([(1, 2.0)], [("a", int), ("b", float)])[0]}, tmp_path / "b.pth")
    with pytest.raises(InputError, match="nothing of it was run"):
        read_file(tmp_path / "b.pth")


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99])
@pytest.mark.parametrize("new", [True, False])
def test_a_truncated_pth_is_refused(kept, new, tmp_path):
    torch.save({key: t.clone() for key, t in state().items()}, tmp_path / "w.pth", _use_new_zipfile_serialization=new)
    content = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(InputError) as told:
        read_file(tmp_path / "w.pth")
    assert "\n" not in str(told.value)


def test_a_tensor_larger_than_its_storage_is_refused_before_it_is_copied(tmp_path):
    torch.save({**state(), "outc": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "w.pth")  # 4 TB if copied
    with pytest.raises(InputError, match="declares 1000000000000 values and holds fewer"):
        read_file(tmp_path / "w.pth")


def test_a_storage_larger_than_the_file_is_refused_before_it_is_allocated(tmp_path):
    """The older format allocates what its pickle declares: here, 2^40 values in place of 48."""
    torch.save({"w": torch.zeros(48)}, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "w.pth").read_bytes()
    lie = pickle.LONG1 + b"\x06" + (1 << 40).to_bytes(6, "little")
    assert content.count(pickle.BININT1 + b"\x30") == 2  # the storage's size and the tensor's shape
    (tmp_path / "w.pth").write_bytes(content.replace(pickle.BININT1 + b"\x30", lie))
    with pytest.raises(InputError, match=f"declares a size of {1 << 40} in a file of"):
        read_file(tmp_path / "w.pth")


def test_a_zip_behind_an_older_file_hides_nothing(tmp_path):
    test_a_storage_larger_than_the_file_is_refused_before_it_is_allocated(tmp_path)
    with zipfile.ZipFile(tmp_path / "w.pth", "a") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    assert zipfile.is_zipfile(tmp_path / "w.pth")
    with pytest.raises(InputError, match=f"declares a size of {1 << 40} in a file of"):
        read_file(tmp_path / "w.pth")


def test_a_zip_that_unpacks_to_more_than_it_is_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(10**7))
    with pytest.raises(InputError, match="unpack to more than the file"):
        read_file(tmp_path / "w.pth")


FOREIGN = {
    "a list": ([1, 2], "found a list"),
    "no tensors": ({"epoch": 3}, "expected a state_dict"),
    "another network": ({"features.0.weight": torch.zeros(3)}, "not the weights of our U-Net nor of another network"),
    "bfloat16": ({"inc.weight": torch.zeros(3, dtype=torch.bfloat16)}, "inc.weight is bfloat16"),
    "sparse": ({"inc.weight": torch.zeros(3, 3).to_sparse()}, "sparse"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_foreign_pth_is_told_in_one_line(case, tmp_path, capsys):
    values, words = FOREIGN[case]
    torch.save(values, tmp_path / "w.pth")
    assert main(["convert", str(tmp_path / "w.pth"), str(tmp_path / "ours")]) == 2
    told = capsys.readouterr().err.strip()
    assert words in told
    assert "\n" not in told


HALVES = {
    "decoder.stages.1.convs.0": "decoder.stages.1.convs.0.conv.weight",
    "decoder.transpconvs.2": "decoder.transpconvs.2.weight is missing",
    "encoder.stages.0.0.convs.0.norm": "missing: encoder.stages.0.0.convs.0.norm.weight",
    "encoder.stages.3": "of another shape: decoder.transpconvs.0.weight",
    "decoder.": "nearest is nnunet",
}


@pytest.mark.parametrize("gone", HALVES)
def test_half_of_a_checkpoint_names_what_is_missing(gone, tmp_path, capsys):
    torch.save({key: t for key, t in state().items() if gone not in key}, tmp_path / "w.pth")
    assert main(["convert", str(tmp_path / "w.pth"), str(tmp_path / "ours")]) == 2
    told = capsys.readouterr().err.strip()
    assert "\n" not in told
    assert HALVES[gone] in told
    assert not (tmp_path / "ours").exists()


def test_safetensors_of_others_are_read_and_damaged_ones_refused(tmp_path, capsys):
    from safetensors.numpy import save_file

    save_file({key: np.array(t) for key, t in arrays(NAME).items()}, tmp_path / "w.safetensors")
    assert main(["convert", str(tmp_path / "w.safetensors"), str(tmp_path / "ours")]) == 0
    content = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[:-10])
    assert main(["convert", str(tmp_path / "cut.safetensors"), str(tmp_path / "no")]) == 2
    assert "not a readable safetensors file" in capsys.readouterr().err


# Keras


def keras_h5(path, name="keras_h5"):
    """A file of the older format, as Keras 2 writes it."""
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
    tensors, _ = read_arrays(tmp_path / "link.h5")
    assert "0.kernel" not in tensors  # a link to another file is not followed
    assert main(["convert", str(tmp_path / "link.h5"), str(tmp_path / "ours")]) == 2

    keras_h5(tmp_path / "huge.h5")
    with h5py.File(tmp_path / "huge.h5", "a") as file:
        del file[place]
        file.create_dataset(place, (3, 3, 1 << 20, 1 << 20), np.float32, chunks=(3, 3, 64, 64))  # 36 TB, none written
    with pytest.raises(InputError, match="declares more data than the file holds"):
        read_arrays(tmp_path / "huge.h5")

    keras_h5(tmp_path / "packed.h5")
    with h5py.File(tmp_path / "packed.h5", "a") as file:
        del file[place]
        file.create_dataset(place, data=np.zeros((3, 3, 1, 3), np.float32), compression="gzip")
    with pytest.raises(InputError, match="is no plain array of floats"):
        read_arrays(tmp_path / "packed.h5")

    content = (tmp_path / "other.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="not a readable Keras file"):
        read_arrays(tmp_path / "cut.h5")
    (tmp_path / "no.keras").write_text("no zip")
    with pytest.raises(InputError, match="not a readable Keras file"):
        read_arrays(tmp_path / "no.keras")
