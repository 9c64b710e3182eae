"""Recognises the kind of a file by its content, not by its name."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import BinaryIO, Literal

from unet_spec import InputError

Kind = Literal["pytorch", "safetensors", "keras"]
_SAVE = "torch.save(model.state_dict(), 'weights.pth')"

_REFUSED = {
    b"\x1f\x8b": "it is compressed with gzip; unpack it first",
    b"version https://git-lfs": "it is a Git LFS pointer, not the file itself; git lfs pull downloads the file",
    b"<": "it is a web page, so the download of the file failed",
    b"\x93NUMPY": "it is a single NumPy array, not the weights of a network",
}


def _names_in_zip(file: BinaryIO) -> list[str]:
    with zipfile.ZipFile(file) as archive:
        return archive.namelist()


def kind_of(path: Path) -> Kind:
    """The kind of a weights file. For other files, raises InputError with their kind and what to do."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
            names = _names_in_zip(file) if head.startswith(b"PK\x03\x04") and zipfile.is_zipfile(file) else None
    except OSError as e:
        raise InputError(f"cannot read {path}: {e.strerror or e}") from None
    except (zipfile.BadZipFile, ValueError, NotImplementedError):  # a damaged table, or a newer version of zip
        return "pytorch"  # its reader reports the damage
    if names is not None:
        return _of_zip(path, names)
    if head[:4] == b"\x89HDF":
        return "keras"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32:
        return "safetensors"
    for begins, what in _REFUSED.items():
        if head.startswith(begins):
            raise InputError(f"{path}: {what}")
    if head[257:262] == b"ustar":
        raise InputError(f"{path}: it is a tar archive; unpack it and convert the weights file in it")
    if path.suffix == ".onnx":
        raise InputError(
            f"{path}: ONNX contains a graph, not named weights, except in float32 files of unet export; save the "
            f"weights in the program that wrote it: {_SAVE}"
        )
    known: dict[str, Kind] = {".safetensors": "safetensors", ".h5": "keras", ".hdf5": "keras", ".keras": "keras"}
    kind = known.get(path.suffix)
    if kind is None and not head.startswith(b"\x80") and path.suffix not in (".pt", ".pth", ".bin", ".ckpt", ".tar"):
        raise InputError(f"{path}: its content is neither that of a PyTorch, a safetensors nor a Keras file")
    return kind or "pytorch"


def _of_zip(path: Path, names: list[str]) -> Kind:
    if any(name.endswith("model.weights.h5") for name in names):
        return "keras"
    if any(name.endswith("/constants.pkl") for name in names) and any("/code/" in name for name in names):
        raise InputError(
            f"{path}: a TorchScript program, which is never run here. If you trust it, save its weights: "
            f"torch.save(torch.jit.load({path.name!r}).state_dict(), 'weights.pth')"
        )
    if any(name.endswith(("archive_format", "models/model.json")) for name in names):
        raise InputError(
            f"{path}: a torch.export program, not a weights file; save the weights in the program that "
            f"wrote it: {_SAVE}"
        )
    if names and all(name.endswith(".npy") for name in names):
        raise InputError(
            f"{path}: NumPy arrays (.npz); save them with safetensors.numpy.save_file and convert that file"
        )
    return "keras" if path.suffix == ".keras" else "pytorch"
