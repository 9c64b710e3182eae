"""What a bundle's manifest.json says, and reading it without trusting it.

bundle/
  manifest.json     this: what the files are, what the network wants and gives, and a SHA-256 for every other file
  model.onnx        the network, weights included
  engines/*.plan    for TensorRT: backend, version, compute capabilities and precision are in the name
  golden.npz        an image, the network's input made from it, and the logits of the float64 reference
  parity.json       how far each runtime is from that reference, and which were not run, and why
  README.md         the same for people
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from unet_spec import DataSpec, InputError, UNetConfig

from .tensorrt_backend import EngineRecord

MANIFEST, ONNX, GOLDEN, PARITY, CARD = "manifest.json", "model.onnx", "golden.npz", "parity.json", "README.md"
FORMAT, VERSION = "unet-bundle", 1
_KEYS: dict[str, type] = {
    "config": dict,
    "data": dict,
    "tiling": dict,
    "engines": list,
    "files": dict,
    "checkpoint_digest": str,
}


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest and checksums were found in order.

    Attributes:
        folder: where it lies.
        manifest: manifest.json.
    """

    folder: Path
    manifest: dict[str, Any]

    @cached_property
    def config(self) -> UNetConfig:
        return UNetConfig.from_dict(self.manifest["config"], str(self.folder / MANIFEST))

    @cached_property
    def data(self) -> DataSpec:
        return DataSpec.from_dict(self.manifest["data"], str(self.folder / MANIFEST))

    @cached_property
    def engines(self) -> tuple[EngineRecord, ...]:
        where = str(self.folder / MANIFEST)
        return tuple(EngineRecord.from_dict(values, where) for values in self.manifest["engines"])

    @property
    def onnx(self) -> Path:
        return self.folder / ONNX

    @property
    def tile(self) -> tuple[int, ...] | None:
        """The default tile in pixels per axis; None where only the whole image gives the right result."""
        tile = self.manifest["tiling"].get("tile")
        return None if tile is None else tuple(tile)

    def engine_path(self, record: EngineRecord) -> Path:
        return self.folder / "engines" / record.file


def is_bundle(path: str | os.PathLike[str]) -> bool:
    """Whether the folder holds a manifest.json of this format, in whichever version. Nothing else is checked."""
    try:
        values = json.loads((Path(path) / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and values.get("format") == FORMAT


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """manifest.json, checked, and every file of the bundle checked against it.

    Raises InputError: no such folder, no or damaged manifest, another format version, a file that is missing, changed,
    or named outside of the folder, values of the wrong kind.
    """
    path = Path(folder)
    if not path.is_dir():
        raise InputError(f"no bundle at {path}: " + ("it is a file" if path.exists() else "no such folder"))
    where = path / MANIFEST
    if not where.is_file():
        raise InputError(f"{path} is no bundle: it has no {MANIFEST}")
    try:
        values = json.loads(where.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as e:
        raise InputError(f"{where}: not valid JSON ({e})") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise InputError(f"{where}: not the manifest of a bundle; 'format' must be {FORMAT!r}")
    if values.get("format_version") != VERSION:
        raise InputError(f"{where}: format version {values.get('format_version')!r}; this program reads {VERSION}")
    for key, kind in _KEYS.items():
        if not isinstance(values.get(key), kind):
            raise InputError(f"{where}: {key!r} must be {_KINDS[kind]}; found {type(values.get(key)).__name__}")
    for name, entry in values["files"].items():
        _check_file(path, name, entry, where)
    bundle = Bundle(path, values)
    _check_values(bundle, where)
    return values


def open_bundle(folder: str | os.PathLike[str]) -> Bundle:
    """The bundle in a folder. Raises InputError as `read_manifest` does."""
    return Bundle(Path(folder), read_manifest(folder))


_KINDS = {dict: "an object", list: "a list", str: "a text"}


def _check_file(folder: Path, name: str, entry: Any, where: Path) -> None:
    pure = PurePosixPath(name)
    unsafe = pure.is_absolute() or ".." in pure.parts or "\\" in name or ":" in name or str(pure) != name
    if unsafe or name == MANIFEST:
        raise InputError(f"{where}: {name!r} is no name of a file inside of the bundle")
    if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
        raise InputError(f"{where}: {name} has no sha256")
    path = folder / name
    try:
        inside = path.resolve().is_relative_to(folder.resolve())  # a link may lead out
    except (OSError, RuntimeError, ValueError):  # links in a circle, a zero byte
        inside = False
    if not inside:
        raise InputError(f"{where}: {name} leads out of the bundle")
    if not path.is_file():
        raise InputError(f"{folder}: {name} is missing")
    if file_sha256(path) != entry["sha256"]:
        raise InputError(f"{folder}: {name} was changed or damaged: its SHA-256 is not the manifest's")


def _check_values(bundle: Bundle, where: Path) -> None:
    if ONNX not in bundle.manifest["files"]:
        raise InputError(f"{where}: {ONNX} is not among its files")
    config, data = bundle.config, bundle.data  # both raise
    if data.mean and len(data.mean) != config.in_channels:
        raise InputError(f"{where}: data.mean has {len(data.mean)} numbers for {config.in_channels} channels")
    tile = bundle.manifest["tiling"].get("tile")
    if tile is not None:
        if not isinstance(tile, list) or len(tile) != config.spatial_dims or not all(type(n) is int for n in tile):
            raise InputError(f"{where}: tiling.tile is {tile!r}; expected {config.spatial_dims} whole numbers or null")
        config.geometry.check(tuple(tile))
    for record in bundle.engines:
        if f"engines/{record.file}" not in bundle.manifest["files"]:
            raise InputError(f"{where}: engine {record.file!r} is not among its files")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
