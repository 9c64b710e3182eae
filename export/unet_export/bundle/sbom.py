"""sbom.cdx.json of a bundle: its files with their hashes, and the packages that run it, in CycloneDX 1.6.

It contains no time and no random number, so that equal bundles have equal files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .manifest import SBOM, file_sha256

RUNTIME = ("jsonschema", "numpy", "onnx", "onnxruntime", "unet-twins")
"""The packages that `unet_export.load` needs on a CPU."""

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"

_SPDX = re.compile(r"CC-BY(-(NC|SA|ND|NC-SA|NC-ND))?-4\.0|CC0-1\.0|Apache-2\.0|MIT|BSD-[23]-Clause|A?GPL-3\.0-only")
"""Licences that are written as SPDX identifiers; others are written as given."""


def write_sbom(folder: Path, manifest: dict[str, Any], files: Iterable[Path]) -> Path:
    """Writes the software bill of materials of a bundle.

    Args:
        folder: The bundle.
        manifest: Its manifest, without `files`.
        files: The files to list.

    Returns:
        The file.
    """
    path = folder / SBOM
    path.write_text(json.dumps(describe_sbom(folder, manifest, files), indent=2) + "\n", encoding="utf-8")
    return path


def describe_sbom(folder: Path, manifest: dict[str, Any], files: Iterable[Path]) -> dict[str, Any]:
    """The content of sbom.cdx.json: see `write_sbom`."""
    architecture = manifest["config"]["architecture"]
    model: dict[str, Any] = {"type": "machine-learning-model", "bom-ref": "model", "name": architecture}
    if licence := manifest.get("licence"):
        kind = "id" if _SPDX.fullmatch(licence) else "name"
        model["licenses"] = [{"license": {kind: licence}}]
    parts = [_file(folder, path) for path in files]
    packages = [_package(name, version) for name in RUNTIME if (version := _version(name))]
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": model},
        "components": [*parts, *packages],
        "dependencies": [{"ref": "model", "dependsOn": [each["bom-ref"] for each in (*parts, *packages)]}],
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None  # for example, ONNX Runtime installed as another package


def _file(folder: Path, path: Path) -> dict[str, Any]:
    name = path.relative_to(folder).as_posix()
    hashes = [{"alg": "SHA-256", "content": file_sha256(path)}]
    return {"type": "file", "bom-ref": f"file:{name}", "name": name, "hashes": hashes}


def _package(name: str, installed: str) -> dict[str, Any]:
    url = f"pkg:pypi/{name}@{installed}"
    return {"type": "library", "bom-ref": url, "name": name, "version": installed, "purl": url}
