"""Reads a .pth file of others without running any of it.

A .pth file is a pickle, and a pickle is a program. Three fences stand before it:

1. The pickle's instructions are read, not run: the objects that they would make are counted
   (`unet_spec.untrusted.archives.check_pickle`), and a whole number larger than the file cannot be a size in it, so
   nothing is allocated for one. A zip must hold its entries uncompressed, as torch.save writes them.
2. `torch.load(weights_only=True)`: its own unpickler builds tensors and plain containers, and refuses every name that
   is not on its list or in ALLOWED. The names there are NumPy's numbers, which nnU-Net logs.
3. What comes out is measured before it is copied: a tensor of more values than its storage holds is refused.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickletools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import torch

from unet_spec import InputError
from unet_spec.untrusted.archives import check_pickle

from .weights import to_array

_LEAST = 1 << 20  # a small file may well hold numbers larger than itself, such as a count of epochs


def _number(dtype: Any, data: bytes = b"") -> Any:
    """What numpy's `scalar` does, for plain numbers only. A large whole number comes as a float: used as a size, it
    would ask for memory behind the back of `_check_numbers`."""
    dtype = np.dtype(dtype)
    if dtype.kind not in "biuf" or not isinstance(data, bytes) or len(data) != dtype.itemsize:
        raise ValueError("a NumPy scalar that is not a plain number")
    value = np.frombuffer(data, dtype)[0].item()
    return float(value) if isinstance(value, int) and abs(value) > _LEAST else value


_DTYPES = [getattr(np.dtypes, f"{name}DType") for name in ("Float64", "Float32", "Float16", "Int64", "Int32", "Bool")]
ALLOWED: list[Callable | tuple[Callable, str]] = [
    (_number, "numpy.core.multiarray.scalar"),
    (_number, "numpy._core.multiarray.scalar"),
    np.dtype,
    *_DTYPES,
]
"""What a file may name beyond torch's own list: NumPy's plain numbers and their types."""


@dataclass(frozen=True)
class File:
    """Content of a .pth file.

    Attributes:
        tensors: the weights, by name, in PyTorch's axis order; those that are one tensor there are one array here.
        metadata: what else is there and JSON can say, such as milesial's `mask_values` or nnU-Net's `trainer_name`;
            and under "weights_key" the entry that the weights were in, if any.
    """

    tensors: dict[str, np.ndarray]
    metadata: dict[str, Any]


Choose = Callable[[dict[str, Any]], tuple[dict[str, Any], dict[str, Any]]]
"""Selects the tensors by name, and other facts, from the content of a file."""


def read_file(path: str | os.PathLike[str], choose: Choose) -> File:
    """The weights and what is said beside them. Raises InputError on a damaged or malicious file, or one without."""
    where = Path(path)
    values = _load(where)
    if isinstance(values, torch.nn.Module) or not isinstance(values, dict):
        raise InputError(f"{where}: expected a state_dict, a dictionary of tensors; found a {type(values).__name__}")
    tensors, beside = choose(values)
    if not all(isinstance(t, torch.Tensor) for t in tensors.values()):
        raise InputError(f"{where}: expected a state_dict, names to tensors; it has other values")
    return File(_arrays(tensors, where), _plain_ones(beside))


def _load(path: Path) -> Any:
    """The file's contents, if they are tensors and plain values."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            _check_sizes(file, size, path)
        with torch.serialization.safe_globals(ALLOWED):  # type: ignore[arg-type]
            return torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except OSError as e:
        raise InputError(f"cannot read {path}: {e.strerror or e}") from None
    except Exception as e:  # torch raises many kinds, from pickle's to zip's
        reason = str(e).strip().splitlines()
        cause = next((line for line in reason if "GLOBAL" in line or "Unsupported" in line), (reason or [repr(e)])[0])
        raise InputError(
            f"{path}: not a PyTorch file of plain tensors; no code in it was run ({cause.strip()}); of a whole model, "
            "save model.state_dict() instead"
        ) from None


def _check_sizes(file: BinaryIO, size: int, path: Path) -> None:
    """Raises InputError if the file asks for more memory than it has bytes."""
    if not size:
        raise InputError(f"{path}: the file is empty")
    begins = file.read(4) == b"PK\x03\x04"  # what torch.load goes by; a zip may also hang behind something else
    if begins and not zipfile.is_zipfile(file):
        raise InputError(f"{path}: truncated: it starts like a zip file and does not end like one")
    file.seek(0)
    if not begins:
        for _ in range(5):  # the older format: magic number, protocol, system, contents, keys; then raw values
            _check_pickle(file, size, path)
        return
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(e.compress_type != zipfile.ZIP_STORED for e in entries) or sum(e.file_size for e in entries) > size:
            raise InputError(
                f"{path}: a zip whose entries unpack to more than its size; torch.save writes no such file"
            )
        for entry in entries:
            if entry.filename.endswith("data.pkl"):
                with archive.open(entry) as content:
                    _check_pickle(io.BytesIO(content.read()), size, path)


def _check_pickle(file: IO[bytes], size: int, path: Path) -> None:
    """Reads one pickle's instructions, up to its end, without running any."""
    start, most = file.tell(), max(size, _LEAST)
    check_pickle(file, path)
    file.seek(start)
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in ("LONG1", "LONG4") and argument == 0x1950A86A20F9469CFC6C:  # the older format's magic number
            continue
        if isinstance(argument, int) and opcode.name not in ("PROTO", "FRAME") and abs(argument) > most:
            raise InputError(f"{path}: declares a size of {argument} in a file of {size} bytes; no code in it was run")


def _arrays(tensors: dict[str, torch.Tensor], path: Path) -> dict[str, np.ndarray]:
    """Copies of the tensors; names that share a tensor share an array."""
    done: dict[tuple, np.ndarray] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise InputError(f"{path}: {name} is sparse or quantised; a plain tensor is expected")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise InputError(f"{path}: {name} declares {tensor.numel()} values and contains fewer")
        key = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())
        if key not in done:
            done[key] = to_array(tensor.resolve_conj().resolve_neg())
        arrays[name] = done[key]
    return arrays


def _plain(value: Any, depth: int = 0) -> Any:
    """The value as JSON has it. Raises TypeError where a part of it is something else, such as a tensor."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, list | tuple) and depth < 20:
        return [_plain(v, depth + 1) for v in value]
    if isinstance(value, dict) and depth < 20 and all(isinstance(key, str) for key in value):
        return {key: _plain(v, depth + 1) for key, v in value.items()}
    raise TypeError(f"not plain: {type(value).__name__}")


def _plain_ones(values: dict[str, Any]) -> dict[str, Any]:
    """Those of the values that are plain."""
    kept: dict[str, Any] = {}
    for key, value in values.items():
        with contextlib.suppress(TypeError):
            kept[key] = _plain(value)
    return kept
