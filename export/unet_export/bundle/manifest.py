"""The manifest.json of a bundle, and its reader, which verifies everything.

bundle/
  manifest.json      the files, the network's input and output, and a SHA-256 for every other file
  model.onnx         the network in float32, weights included
  model-fp16.onnx    the same in another precision, if requested: bf16, int8, fp8 likewise
  model-*-baked.onnx with normalisation, softmax or argmax fused into it, if requested
  engines/*.plan     for TensorRT: backend, version, compute capabilities and precision are in the name
  golden.npz         an image, the network's input made from it, and the logits of the float64 reference
  parity.json        how far each runtime and precision is from that reference, and which were not run, and why
  triton/            a model repository for NVIDIA Triton
  sbom.cdx.json      a software bill of materials (CycloneDX): files with hashes, packages, licence
  README.md          a description for readers
  model.sig          a signature over all other files, if it was signed: the only file that is not in the manifest

Every manifest is validated against the JSON schema manifest.schema.json, in the folder of this file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from unet_spec import DataSpec, InputError, NetworkConfig
from unet_spec.untrusted.strict_json import read_json, read_object
from unet_spec.weights.checkpoint import is_checkpoint

from ..tensorrt.engine_record import EngineRecord
from ..tensorrt.profile import Profile

MANIFEST, ONNX, GOLDEN, PARITY, CARD = "manifest.json", "model.onnx", "golden.npz", "parity.json", "README.md"
SBOM, SIGNATURE = "sbom.cdx.json", "model.sig"
FORMAT, VERSION = "unet-bundle", 1


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest and checksums have been verified.

    Attributes:
        folder: Folder of the bundle.
        manifest: Content of manifest.json.

    Example:
        >>> from unet_export import BundleSettings, write_bundle
        >>> from unet_spec import Checkpoint, preset, random_tensors
        >>> config = preset("same", widths=(4, 8))
        >>> checkpoint = Checkpoint(config, random_tensors(config.graph, 0))
        >>> bundle = write_bundle(checkpoint, "bundle", BundleSettings(engines=False))
        >>> bundle.config == config, bundle.onnx_path("fp32").name
        (True, 'model.onnx')
    """

    folder: Path
    manifest: dict[str, Any]

    @cached_property
    def config(self) -> NetworkConfig:
        """The network."""
        return NetworkConfig.from_dict(self.manifest["config"], str(self.folder / MANIFEST))

    @cached_property
    def data(self) -> DataSpec:
        """Input normalisation and class names."""
        return DataSpec.from_dict(self.manifest["data"], str(self.folder / MANIFEST))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of manifest.json, in hexadecimal. It identifies the whole bundle, since the manifest contains the
        hashes of all other files."""
        return file_sha256(self.folder / MANIFEST)

    @cached_property
    def engines(self) -> tuple[EngineRecord, ...]:
        """The engines of the network without fused steps, in order of preference."""
        return self._records(self.manifest["engines"])

    @cached_property
    def fused_engines(self) -> tuple[EngineRecord, ...]:
        """The engines of the model with fused steps, for other programs; `load` needs logits and does not use them."""
        return self._records((self.manifest["baked"] or {"engines": ()})["engines"])

    @property
    def onnx(self) -> Path:
        """The file of the float32 model, which every bundle has."""
        return self.folder / ONNX

    @property
    def tile(self) -> tuple[int, ...] | None:
        """The default tile, pixels per axis; None if only the whole image gives an exact result."""
        tile = self.manifest["tiling"].get("tile")
        return None if tile is None else tuple(tile)

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions, the preferred one first."""
        return tuple(entry["precision"] for entry in self.manifest["precisions"])

    def onnx_path(self, precision: str) -> Path:
        """The ONNX file of a precision. Raises InputError if the bundle has none."""
        for entry in self.manifest["precisions"]:
            if entry["precision"] == precision:
                return self.folder / entry["file"]
        raise InputError(f"bundle {self.folder} has no {precision}; it has {', '.join(self.precisions)}")

    def engine_path(self, record: EngineRecord) -> Path:
        """The file of an engine."""
        return self.folder / "engines" / record.file

    def _records(self, entries: Iterable[Any]) -> tuple[EngineRecord, ...]:
        return tuple(EngineRecord.from_dict(values, str(self.folder / MANIFEST)) for values in entries)


def is_bundle(path: str | os.PathLike[str]) -> bool:
    """Whether a folder contains a manifest.json of this format, in any version. Nothing else is checked.

    Args:
        path: The folder.

    Example:
        >>> from unet_export import is_bundle
        >>> is_bundle("no/such/folder")
        False
    """
    try:
        return read_object(Path(path) / MANIFEST).get("format") == FORMAT
    except InputError:
        return False


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads manifest.json, checks it, and checks every file of the bundle against it.

    Args:
        folder: The bundle.

    Returns:
        The content of manifest.json, as in manifest.schema.json.

    Raises:
        InputError: The folder does not exist, its manifest is missing, damaged or of another version, a file is
            missing, changed or outside the folder, or a value has the wrong type.

    Example:
        >>> from unet_export import BundleSettings, read_manifest, write_bundle
        >>> from unet_spec import Checkpoint, preset, random_tensors
        >>> config = preset("paper", widths=(4, 8))
        >>> checkpoint = Checkpoint(config, random_tensors(config.graph, 0))
        >>> read_manifest(write_bundle(checkpoint, "bundle", BundleSettings(engines=False)).folder)["margin"]
        [8, 8]
    """
    path = Path(folder)
    if not path.is_dir():
        file = "it is a file; a bundle is the folder that unet export writes"
        raise InputError(f"no bundle at {path}: " + (file if path.exists() else "no such folder"))
    where = path / MANIFEST
    if not where.is_file():
        hint = f"; unet export {path} -o BUNDLE makes one of this checkpoint" if is_checkpoint(path) else ""
        raise InputError(f"{path} is not a bundle: it has no {MANIFEST}{hint}")
    values = read_json(where)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise InputError(f"{where}: not the manifest of a bundle; 'format' must be {FORMAT!r}")
    if values.get("format_version") != VERSION:
        raise InputError(f"{where}: format version {values.get('format_version')!r}; this program reads {VERSION}")
    check_schema(values, str(where))
    for name, entry in values["files"].items():
        _check_file(path, name, entry, where)
    bundle = Bundle(path, values)
    _check_values(bundle, where)
    return values


def open_bundle(folder: str | os.PathLike[str]) -> Bundle:
    """Opens a bundle.

    Args:
        folder: The bundle.

    Raises:
        InputError: As `read_manifest`.

    Example:
        >>> from unet_export import BundleSettings, open_bundle, write_bundle
        >>> from unet_spec import Checkpoint, preset, random_tensors
        >>> config = preset("same", widths=(4, 8))
        >>> checkpoint = Checkpoint(config, random_tensors(config.graph, 0))
        >>> folder = write_bundle(checkpoint, "bundle", BundleSettings(engines=False)).folder
        >>> open_bundle(folder).tile
        (572, 572)
    """
    return Bundle(Path(folder), read_manifest(folder))


@lru_cache(maxsize=1)
def schema() -> dict[str, Any]:
    """The JSON schema of a manifest (draft 2020-12)."""
    return json.loads(
        resources.files("unet_export.bundle").joinpath("manifest.schema.json").read_text(encoding="utf-8")
    )


def check_schema(values: Any, where: str) -> None:
    """Raises InputError, naming the place, unless `values` matches the schema."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema()).iter_errors(values))
    if error is not None:
        place = error.json_path.removeprefix("$").removeprefix(".") or "the manifest"
        raise InputError(f"{where}: {place}: {' '.join(error.message.split())[:300]}")


def _check_file(folder: Path, name: str, entry: dict[str, Any], where: Path) -> None:
    pure = PurePosixPath(name)
    unsafe = pure.is_absolute() or ".." in pure.parts or "\\" in name or ":" in name or str(pure) != name
    if unsafe or name == MANIFEST:
        raise InputError(f"{where}: {name!r} is not the name of a file inside the bundle")
    path = folder / name
    try:
        inside = path.resolve().is_relative_to(folder.resolve())  # a link may point outside
    except (OSError, RuntimeError, ValueError):  # circular links, a zero byte
        inside = False
    if not inside:
        raise InputError(f"{where}: {name} points outside of the bundle")
    if not path.is_file():
        raise InputError(f"{folder}: {name} is missing")
    if file_sha256(path) != entry["sha256"]:
        raise InputError(f"{folder}: {name} was changed or damaged: its SHA-256 differs from that in the manifest")


def _check_values(bundle: Bundle, where: Path) -> None:
    for entry in (*bundle.manifest["precisions"], bundle.manifest["baked"] or {"file": ONNX}):
        if entry["file"] not in bundle.manifest["files"]:
            raise InputError(f"{where}: {entry['file']} is not among its files")
    config, data = bundle.config, bundle.data  # both raise InputError
    if data.mean and len(data.mean) != config.in_channels:
        raise InputError(f"{where}: data.mean has {len(data.mean)} numbers for {config.in_channels} channels")
    tile = bundle.manifest["tiling"].get("tile")
    if tile is not None:
        if len(tile) != config.spatial_dims:
            raise InputError(f"{where}: tiling.tile is {tile!r}; expected {config.spatial_dims} whole numbers or null")
        config.geometry.check(tuple(tile))
    if (profile := bundle.manifest["profile"]) is not None:
        Profile.from_dict(profile).check(config)
    for record in (*bundle.engines, *bundle.fused_engines):
        if f"engines/{record.file}" not in bundle.manifest["files"]:
            raise InputError(f"{where}: engine {record.file!r} is not among its files")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
