"""Reads untrusted .pth files without executing any of their code.

A .pth file is a pickle, and a pickle is a program. Three checks protect against it:

1. The pickle's instructions are read, not run. The objects that they would make are counted
   (`unet_spec.untrusted.archives.check_pickle`), and integers larger than the file are refused, since they cannot be
   sizes in it. The entries of a zip must be uncompressed, as torch.save writes them.
2. `torch.load(weights_only=True)`: torch's unpickler builds tensors and plain containers, and refuses every name that
   is not on its list or in ALLOWED. ALLOWED holds NumPy's numbers, which nnU-Net logs.
3. Sizes are checked before tensors are copied: a tensor with more values than its storage is refused.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickletools
import re
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

_SMALL = 1 << 20  # a small file may hold numbers larger than its size, such as a count of epochs


def _number(dtype: Any, data: bytes = b"") -> Any:
    """Like numpy's `scalar`, for plain numbers only. Large integers become floats: as sizes they would bypass
    `_check_sizes`."""
    dtype = np.dtype(dtype)
    if dtype.kind not in "biuf" or not isinstance(data, bytes) or len(data) != dtype.itemsize:
        raise ValueError("a NumPy scalar that is not a plain number")
    value = np.frombuffer(data, dtype)[0].item()
    return float(value) if isinstance(value, int) and abs(value) > _SMALL else value


_DTYPES = [getattr(np.dtypes, f"{name}DType") for name in ("Float64", "Float32", "Float16", "Int64", "Int32", "Bool")]
ALLOWED: list[Callable | tuple[Callable, str]] = [
    (_number, "numpy.core.multiarray.scalar"),
    (_number, "numpy._core.multiarray.scalar"),
    np.dtype,
    *_DTYPES,
]
"""Names that a file may use in addition to torch's own list: NumPy's plain numbers and their types."""


@dataclass(frozen=True)
class File:
    """Content of a .pth file.

    Attributes:
        tensors: the weights, by name, in PyTorch's axis order; names that share a tensor share an array.
        metadata: all other entries that JSON can represent, such as milesial's `mask_values` or nnU-Net's
            `trainer_name`; and under "weights_key" the name of the entry with the weights, if any.
    """

    tensors: dict[str, np.ndarray]
    metadata: dict[str, Any]


Choose = Callable[[dict[str, Any]], tuple[dict[str, Any], dict[str, Any]]]
"""Selects the tensors and the metadata from the content of a file."""


def read_file(path: str | os.PathLike[str], choose: Choose) -> File:
    """Reads weights and metadata. Raises InputError if the file is damaged or malicious or has no weights."""
    where = Path(path)
    values = _load(where)
    if isinstance(values, torch.nn.Module) or not isinstance(values, dict):
        raise InputError(f"{where}: expected a state_dict, a dictionary of tensors; found a {type(values).__name__}")
    tensors, metadata = choose(values)
    if not all(isinstance(t, torch.Tensor) for t in tensors.values()):
        raise InputError(f"{where}: expected a state_dict, names to tensors; it has other values")
    return File(_arrays(tensors, where), _plain_items(metadata))


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
    except Exception as e:  # torch raises many kinds of errors
        reason = str(e).strip().splitlines() or [repr(e)]
        needed = re.search(r"GLOBAL ([\w.]+)", str(e))
        cause = f"it contains a {needed[1]}" if needed else reason[0].strip()
        raise InputError(
            f"{path}: not a PyTorch file of plain tensors; no code in it was run ({cause}); of a whole model, "
            "save model.state_dict() instead"
        ) from None


def _check_sizes(file: BinaryIO, size: int, path: Path) -> None:
    """Raises InputError if the file would allocate more memory than its size."""
    if not size:
        raise InputError(f"{path}: the file is empty")
    begins = file.read(4) == b"PK\x03\x04"  # torch.load checks these bytes; a zip may also be appended to another file
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
    start, limit = file.tell(), max(size, _SMALL)
    check_pickle(file, path)
    file.seek(start)
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in ("LONG1", "LONG4") and argument == 0x1950A86A20F9469CFC6C:  # the older format's magic number
            continue
        if isinstance(argument, int) and opcode.name not in ("PROTO", "FRAME") and abs(argument) > limit:
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
    """The value in JSON's types. Raises TypeError if a part of it has another type, such as a tensor."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, list | tuple) and depth < 20:
        return [_plain(v, depth + 1) for v in value]
    if isinstance(value, dict) and depth < 20 and all(isinstance(key, str) for key in value):
        return {key: _plain(v, depth + 1) for key, v in value.items()}
    raise TypeError(f"not plain: {type(value).__name__}")


def _plain_items(values: dict[str, Any]) -> dict[str, Any]:
    """The values that JSON can represent."""
    plain: dict[str, Any] = {}
    for key, value in values.items():
        with contextlib.suppress(TypeError):
            plain[key] = _plain(value)
    return plain
