"""The bill of materials (CycloneDX 1.6) and the list of licences, of what the environments held."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from .environments import Installed

NAME = "unet-twins"
VENDORED: dict[str, str] = {}
"""Files of others in the wheel, and their licences. There are none."""


def normal(name: str) -> str:
    """A name as package indexes compare it.

    Example:
        >>> normal("Jinja_2.X")
        'jinja-2-x'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def bill(version: str, wheel_sha256: str, environments: Mapping[str, Sequence[Installed]]) -> dict[str, Any]:
    """The bill of materials.

    Args:
        version: version of the project.
        wheel_sha256: SHA-256 of the wheel.
        environments: what each extra installed, the project itself included.

    Returns:
        A CycloneDX 1.6 document, the same for the same arguments. A component has the extras that bring it along as a
        property.
    """
    found: dict[str, Installed] = {}
    extras: dict[str, list[str]] = {}
    for extra, installed in environments.items():
        for each in installed:
            if normal(each.name) != NAME:
                found[normal(each.name)] = each
                extras.setdefault(normal(each.name), []).append(extra or "(none)")
    components = [_component(name, found[name], extras[name]) for name in sorted(found)]
    own = {normal(n) for i in environments.values() for e in i if normal(e.name) == NAME for n in e.needs}
    edges = {NAME: own, **{name: {normal(n) for n in each.needs} for name, each in found.items()}}
    refs = {name: _purl(name, each.version) for name, each in found.items()} | {NAME: _purl(NAME, version)}
    dependencies = [
        {"ref": refs[name], "dependsOn": [refs[n] for n in sorted(edges[name] & set(found))]} for name in sorted(refs)
    ]
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "library",
                "bom-ref": refs[NAME],
                "name": NAME,
                "version": version,
                "purl": refs[NAME],
                "licenses": [{"license": {"id": "Apache-2.0"}}],
                "hashes": [{"alg": "SHA-256", "content": wheel_sha256}],
            }
        },
        "components": components,
        "dependencies": dependencies,
    }
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    return document | {"serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, digest)}"}


def licences(environments: Mapping[str, Sequence[Installed]]) -> str:
    """What is vendored, and the licence of each package that an extra brings along, in the words of its metadata."""
    rows = {(e.name, e.version, e.licence or "not stated") for i in environments.values() for e in i}
    lines = [f"{name} {version}: {licence}" for name, version, licence in sorted(rows, key=lambda r: r[0].lower())]
    vendored = [f"{file}: {licence}" for file, licence in VENDORED.items()] or ["nothing: every file is the project's"]
    return "\n".join(
        ["In the wheel, of others:", *vendored, "", "Installed beside it, none of it in the wheel:", *lines, ""]
    )


def _component(name: str, each: Installed, extras: Sequence[str]) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": _purl(name, each.version),
        "name": each.name,
        "version": each.version,
        "purl": _purl(name, each.version),
        "properties": [{"name": "unet-twins:extras", "value": "; ".join(sorted(set(extras)))}],
    }
    if each.licence:
        component["licenses"] = [{"license": {"name": each.licence}}]
    return component


def _purl(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version.replace('+', '%2B')}"
