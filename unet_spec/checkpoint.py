"""A checkpoint: a folder with config.json and model.safetensors.

config.json holds the network's config and, under "data", how its images are prepared and what its classes are called.
model.safetensors holds every parameter and buffer under PyTorch's names and axis order, so that it loads without us.
Nothing is pickled. Files are written under a temporary name and renamed, so a file that is there is whole.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec.errors import InputError
from unet_spec.graph import check_tensors
from unet_spec.network import NetworkConfig

CONFIG, WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True)
class DataSpec:
    """What a network expects of its images and says with its classes.

    Attributes:
        mean, std: per channel, subtracted and divided by; in units where an integer image is divided by the maximum of
            its dtype (uint8 / 255) and a float image is taken as it is. Empty: nothing is subtracted or divided by.
        class_names: one for each class. Empty: unnamed.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    class_names: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, values: Any, where: str) -> DataSpec:
        """The inverse of `dataclasses.asdict`. Raises InputError."""
        if not isinstance(values, dict) or set(values) - {"mean", "std", "class_names"}:
            raise InputError(
                f"{where}: 'data' must be an object with the keys mean, std, class_names; found {values!r}"
            )
        for key, value in values.items():
            allowed = str if key == "class_names" else int | float
            if not isinstance(value, list | tuple) or not all(isinstance(v, allowed) for v in value):
                what = "names" if allowed is str else "numbers"
                raise InputError(f"{where}: data.{key} is {value!r}; it must be a list of {what}")
        spec = cls(**{key: tuple(value) for key, value in values.items()})
        if len(spec.mean) != len(spec.std):
            raise InputError(
                f"{where}: data.mean has {len(spec.mean)} numbers, data.std {len(spec.std)}; they must agree"
            )
        if not all(math.isfinite(m) for m in spec.mean) or not all(s > 0 and math.isfinite(s) for s in spec.std):
            raise InputError(
                f"{where}: data.mean must be finite and data.std above zero; they are {spec.mean}, {spec.std}"
            )
        return spec


@dataclass(frozen=True)
class Checkpoint:
    """A network with its weights.

    Attributes:
        config: the network.
        tensors: every parameter and buffer, by PyTorch name, in PyTorch's axis order; C-contiguous NumPy arrays.
        data: preparation of images, names of classes.
    """

    config: NetworkConfig
    tensors: Mapping[str, np.ndarray]
    data: DataSpec = field(default_factory=DataSpec)

    def save(self, folder: str | os.PathLike[str], extra: Mapping[str, str] | None = None) -> None:
        """Writes the folder. Raises InputError where the tensors are not the config's or the folder is not writable.

        extra: further text files by name, such as a model card.
        """
        check_tensors(self.config.graph, self.tensors, f"cannot save {folder}")
        _check_data(self.config, self.data, str(folder))
        from safetensors.numpy import save

        # safetensors writes non-contiguous views as garbage, without an error (its issue 825).
        arrays = {name: np.ascontiguousarray(self.tensors[name]) for name in self.config.graph.params}
        values = self.config.to_dict() | {"data": {k: list(v) for k, v in asdict(self.data).items()}}
        path = Path(folder)
        contents = {CONFIG: json.dumps(values, indent=2).encode() + b"\n", WEIGHTS: save(arrays, {"format": "pt"})}
        contents |= {name: text.encode() for name, text in (extra or {}).items()}
        try:
            if path.exists():
                for name, content in contents.items():
                    with replacing(path / name) as temporary:
                        temporary.write_bytes(content)
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as fresh:  # a folder appears with all of its files, or not at all
                fresh.mkdir()
                for name, content in contents.items():
                    (fresh / name).write_bytes(content)
        except OSError as e:
            raise InputError(f"cannot write checkpoint {folder}: {e.strerror or e}") from None

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Checkpoint:
        """Reads the folder. Raises InputError: no such folder, missing or damaged file, tensors that do not fit."""
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


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether the folder holds the two files."""
    return (Path(path) / CONFIG).is_file() and (Path(path) / WEIGHTS).is_file()


def read_config(folder: str | os.PathLike[str]) -> tuple[NetworkConfig, DataSpec]:
    """The config.json of a checkpoint. Raises InputError."""
    path = Path(folder)
    if not path.is_dir():
        raise InputError(f"no checkpoint at {path}: " + ("it is a file" if path.exists() else "no such folder"))
    for name in (CONFIG, WEIGHTS):
        if not (path / name).is_file():
            hint = next((f"; did you mean {path / sub}?" for sub in ("best", "last") if is_checkpoint(path / sub)), "")
            raise InputError(f"{path} is no checkpoint: it has no {name}{hint}")
    try:
        values = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except (ValueError, OSError) as e:
        raise InputError(f"{path / CONFIG}: not valid JSON ({e})") from None
    data = values.pop("data", {}) if isinstance(values, dict) else {}
    config = NetworkConfig.from_dict(values, str(path / CONFIG))
    spec = DataSpec.from_dict(data, str(path / CONFIG))
    _check_data(config, spec, str(path / CONFIG))
    return config, spec


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a safetensors file. Raises InputError where it is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as e:
        raise InputError(f"{path}: not a readable safetensors file ({e})") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, for a file or for a folder that is not there yet: renamed to it when the block
    ends well, removed when it does not."""
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:12]}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        remove(temporary)


def leftovers(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    """What `replacing` has left of these names in the folder where a process was killed in its block."""
    for name in names:
        stem, suffix = Path(name).stem, Path(name).suffix
        for path in folder.glob(f".{stem}.*{suffix}"):
            if re.fullmatch(r"[0-9a-f]{12}", path.name.removeprefix(f".{stem}.").removesuffix(suffix)):
                yield path


def remove(path: Path) -> None:
    """A file, or a folder with all that it holds; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _check_data(config: NetworkConfig, data: DataSpec, where: str) -> None:
    if data.mean and len(data.mean) != config.in_channels:
        raise InputError(f"{where}: data.mean has {len(data.mean)} numbers for {config.in_channels} channels")
    if data.class_names and len(data.class_names) != config.classes:
        raise InputError(f"{where}: {len(data.class_names)} class names for {config.classes} classes")
