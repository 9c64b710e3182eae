"""Files are recognised by their content; for other files the message states their kind and what to do."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch

from unet_spec import InputError
from unet_tools.conversion.file_kinds import kind_of
from unet_tools.conversion.zoo_files import is_zoo_model


def script(path):
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(path)


REFUSED = {
    "TorchScript": (script, "a TorchScript program, which is never run here.*torch.jit.load"),
    "torch.export": (
        lambda path: torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), path),
        "a torch.export program",
    ),
    "npz": (lambda path: np.savez(path.open("wb"), a=np.zeros(3)), r"\.npz"),
    "npy": (lambda path: np.save(path.open("wb"), np.zeros(3)), "a single NumPy array"),
    "gzip": (lambda path: path.write_bytes(b"\x1f\x8b\x08rest"), "gzip"),
    "lfs": (lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid"), "git lfs pull"),
    "web page": (lambda path: path.write_bytes(b"<!DOCTYPE html><html>"), "web page"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=[pytest.mark.slow] * name.startswith("torch.")) for name in REFUSED]
)
def test_what_is_no_file_of_weights_is_named(case, tmp_path):
    write, words = REFUSED[case]
    path = tmp_path / ("w.pt2" if case == "torch.export" else "w.pt")
    write(path)
    with pytest.raises(InputError, match=words):
        kind_of(path)


def test_the_ending_does_not_decide(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "a.bin")
    torch.save({"a": torch.zeros(3)}, tmp_path / "b.safetensors")
    torch.save({"a": torch.zeros(3)}, tmp_path / "c.weights", _use_new_zipfile_serialization=False)
    assert [kind_of(tmp_path / n) for n in ("a.bin", "b.safetensors", "c.weights")] == [
        "safetensors",
        "pytorch",
        "pytorch",
    ]


def test_a_zip_whose_table_cannot_be_read_is_left_to_its_reader(tmp_path):
    """A name that is marked as UTF-8 but is not: Python's zipfile raises UnicodeDecodeError."""
    path = tmp_path / "w.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("naïve.pkl", b"")
    path.write_bytes(path.read_bytes().replace("naïve".encode(), b"na\x9d\x9dve"))
    assert kind_of(path) == "pytorch"
    assert not is_zoo_model(path)


@pytest.mark.parametrize(("size", "kind"), [(2**32 - 1, "safetensors"), (2**32, "pytorch")])
def test_a_header_of_four_gigabytes_is_none_of_safetensors(size, kind, tmp_path):
    (tmp_path / "a.bin").write_bytes(size.to_bytes(8, "little") + b'{"a":{}}')
    assert kind_of(tmp_path / "a.bin") == kind
