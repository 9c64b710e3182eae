"""A checkpoint: a folder with config.json and model.safetensors.

config.json contains the network's config and, under "data", the preparation of images and the class names.
model.safetensors contains every parameter and buffer with PyTorch's names and axis order, so that it can be loaded
without this library. Nothing is pickled. Saves are atomic: all files are written to a new folder, which then replaces
the old one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import InputError, OutputError
from ..files import write_files
from ..network import NetworkConfig
from ..untrusted.strict_json import read_json
from .check import check_tensors
from .data_spec import DataSpec

CONFIG, WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A network with its weights.

    Attributes:
        config: the network.
        tensors: every parameter and buffer, by PyTorch name, in PyTorch's axis order; C-contiguous NumPy arrays.
        data: input normalisation and class names.

    Example:
        >>> import tempfile
        >>> from unet_spec import initial_tensors, preset
        >>> config = preset("paper", widths=(4, 8))
        >>> folder = Path(tempfile.mkdtemp()) / "model"
        >>> Checkpoint(config, initial_tensors(config.graph, seed=0)).save(folder)
        >>> is_checkpoint(folder), Checkpoint.load(folder).config == config
        (True, True)
    """

    config: NetworkConfig
    tensors: Mapping[str, np.ndarray]
    data: DataSpec = field(default_factory=DataSpec)

    def save(self, folder: str | os.PathLike[str], extra: Mapping[str, str | None] | None = None) -> None:
        """Writes the folder atomically. Its files replace those of an existing checkpoint.

        Args:
            folder: a new folder, or a checkpoint to replace.
            extra: further text files by name, such as a model card; None removes one.

        Raises:
            InputError: the tensors do not match the config, or the folder is no checkpoint and has a file with one of
                these names.
            OutputError: the folder cannot be written.
        """
        check_tensors(self.config.graph, self.tensors, f"cannot save {folder}")
        self.data.check(self.config, str(folder))
        from safetensors.numpy import save

        # safetensors writes non-contiguous views as garbage, without an error (its issue 825).
        arrays = {name: np.ascontiguousarray(self.tensors[name]) for name in self.config.graph.params}
        values = self.config.to_dict() | {"data": self.data.to_dict()}
        path = Path(folder)
        _check_own(path)
        if extra and not is_checkpoint(path) and (foreign := next((n for n in extra if (path / n).exists()), None)):
            raise InputError(
                f"cannot write checkpoint {folder}: it would replace the {foreign} of a folder that is no checkpoint; "
                "give a new folder"
            )
        contents: dict[str, bytes | None] = {WEIGHTS: save(arrays, {"format": "pt"})}
        contents[CONFIG] = json.dumps(values, indent=2).encode() + b"\n"
        contents |= {name: None if text is None else text.encode() for name, text in (extra or {}).items()}
        try:
            write_files(path, contents)
        except OSError as e:
            raise OutputError(f"cannot write checkpoint {folder}: {e.strerror or e}") from None

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Checkpoint:
        """Reads a checkpoint.

        Raises InputError if the folder or a file is missing or damaged, or if the tensors do not match the config.
        """
        path = Path(folder)
        config, data = read_config(path)
        tensors = read_tensors(path / WEIGHTS)
        check_tensors(config.graph, tensors, str(path / WEIGHTS))
        return cls(config, {name: tensors[name] for name in config.graph.params}, data)

    def digest(self) -> str:
        """SHA-256 over the config and every tensor's name, dtype, shape and bytes."""
        sha = hashlib.sha256(self.config.to_json().encode())
        for name in self.config.graph.params:
            array = np.ascontiguousarray(self.tensors[name])
            sha.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            sha.update(array.tobytes())
        return sha.hexdigest()


def _check_own(path: Path) -> None:
    """Raises InputError if writing would replace another project's config.json or weights."""
    if path.exists() and not path.is_dir():
        raise InputError(f"cannot write checkpoint {path}: it is a file")
    if (path / WEIGHTS).exists() and not (path / CONFIG).exists():
        raise InputError(
            f"cannot write checkpoint {path}: it has a {WEIGHTS} without a {CONFIG} of this project; move "
            "it elsewhere first"
        )
    if (path / CONFIG).exists():
        try:
            _read_config_file(path)
        except InputError as e:
            raise InputError(
                f"cannot write checkpoint {path}: its {CONFIG} is not from this project; move it elsewhere first ({e})"
            ) from None


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether a folder contains config.json and model.safetensors.

    Args:
        path: path of the folder, which need not exist.

    Example:
        >>> is_checkpoint("no/such/folder")
        False
    """
    return (Path(path) / CONFIG).is_file() and (Path(path) / WEIGHTS).is_file()


def read_config(folder: str | os.PathLike[str]) -> tuple[NetworkConfig, DataSpec]:
    """The content of a checkpoint's config.json. Raises InputError."""
    path = Path(folder)
    if not path.is_dir():
        raise InputError(f"no checkpoint at {path}: {_not_a_folder(path)}")
    for name in (CONFIG, WEIGHTS):
        if not (path / name).is_file():
            hint = next((f"; did you mean {path / sub}?" for sub in ("best", "last") if is_checkpoint(path / sub)), "")
            raise InputError(f"{path} is not a checkpoint: it has no {name}{hint}")
    return _read_config_file(path)


def _not_a_folder(path: Path) -> str:
    if not path.exists():
        return "no such folder"
    if is_checkpoint(path.parent) and path.name in (CONFIG, WEIGHTS):
        return f"it is a file; give its folder, {path.parent}"
    return f"it is a file; unet convert {path} FOLDER makes a checkpoint of a file of weights"


def _read_config_file(path: Path) -> tuple[NetworkConfig, DataSpec]:
    values = read_json(path / CONFIG)
    data = values.pop("data", {}) if isinstance(values, dict) else {}
    config = NetworkConfig.from_dict(values, str(path / CONFIG))
    spec = DataSpec.from_dict(data, str(path / CONFIG))
    spec.check(config, str(path / CONFIG))
    return config, spec


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a safetensors file. Raises InputError if it is missing or damaged."""
    import ml_dtypes  # noqa: F401  (with it, NumPy has bfloat16)
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as e:
        raise InputError(f"{path}: not a readable safetensors file ({e})") from None
