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


def packed(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return path


@pytest.mark.parametrize(
    ("file", "names", "kind"),
    [
        ("w.zip", ["model.weights.h5", "config.json"], "keras"),
        ("w.keras", ["other"], "keras"),
        ("w.pt", ["a/data.pkl"], "pytorch"),
        ("w.pt", ["a/constants.pkl"], "pytorch"),  # without code
        ("w.pt", ["a/code/x.py"], "pytorch"),
        ("w.pt", [], "pytorch"),
        ("w.pt", ["a.npy", "b.pkl"], "pytorch"),
        ("w.pt", ["a/constants.pkl", "a/code/x.py"], "a TorchScript program"),
        ("w.pt", ["a/archive_format"], "a torch.export program"),
        ("w.pt", ["a/models/model.json"], "a torch.export program"),
        ("w.pt", ["a.npy", "b.npy"], "NumPy arrays"),
    ],
)
def test_a_zip_is_known_by_the_names_in_it(file, names, kind, tmp_path):
    path = packed(tmp_path / file, *names)
    if " " in kind:
        with pytest.raises(InputError, match=kind):
            kind_of(path)
    else:
        assert kind_of(path) == kind


@pytest.mark.parametrize(
    ("file", "content", "kind"),
    [
        ("w", b"\x89HDF\r\n", "keras"),
        ("w", b"\x80\x02}q", "pytorch"),
        *((f"w{ending}", b"any", "pytorch") for ending in (".pt", ".pth", ".bin", ".ckpt", ".tar")),
        ("w.safetensors", b"any", "safetensors"),
        *((f"w{ending}", b"any", "keras") for ending in (".h5", ".hdf5", ".keras")),
        ("w.dat", b"any", "its content is neither that of a PyTorch, a safetensors nor a Keras file"),
        ("w.pt", b"x" * 257 + b"ustar", "it is a tar archive"),
        ("w.pt", b"x" * 258 + b"ustar", "pytorch"),
        ("w.onnx", b"any", "ONNX contains a graph"),
    ],
)
def test_any_other_file_is_known_by_its_first_bytes_then_by_its_ending(file, content, kind, tmp_path):
    (tmp_path / file).write_bytes(content)
    if " " in kind:
        with pytest.raises(InputError, match=kind):
            kind_of(tmp_path / file)
    else:
        assert kind_of(tmp_path / file) == kind


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*none\.pt: No such file or directory"):
        kind_of(tmp_path / "none.pt")
