"""Networks by name: checkpoint folders in installed packages, such as "nuclei" in unet-weights.

A package lists its networks as entry points of the group `unet_twins.weights`, each `name = "package:folder"`, the
checkpoint folder within the package. A top-level package is not imported, and nothing is downloaded: its folder is
located, and its files are compared with the checksums that the installer recorded.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import warnings
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from ..errors import InputError, suggestion
from .checkpoint import is_checkpoint

GROUP = "unet_twins.weights"
"""The group of entry points that list a package's networks."""

PACKAGE = "unet-weights"
"""The package of this project's own networks: nuclei and membranes."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def installed_networks() -> dict[str, str]:
    """The package and version of each network in installed packages, by name, sorted.

    Example:
        >>> from unet_spec import installed_networks
        >>> all(" " in package for package in installed_networks().values())
        True
    """
    found = {entry.name: _package(entry) for entry in entry_points(group=GROUP)}
    return dict(sorted(found.items()))


def find_network(source: str | os.PathLike[str]) -> Path:
    """The folder of a network: `source` itself, or the folder of the installed network with this name.

    Only a plain name is looked up: `nuclei`, not `runs/nuclei` or `nuclei.onnx`. If a path of this name exists, it is
    used, with a warning if there is also a network.

    Args:
        source: a path, which need not exist, or the name of an installed network.

    Returns:
        The given path, or the absolute path of the package's checkpoint folder.

    Raises:
        InputError: a plain name is neither, the package is damaged, or two packages have a network of this name.

    Example:
        >>> from unet_spec import find_network
        >>> find_network("runs/em/best").as_posix()
        'runs/em/best'
    """
    name, path = os.fspath(source), Path(source)
    if not _NAME.fullmatch(name):
        return path
    found = list(entry_points(group=GROUP, name=name))
    if os.path.lexists(path):
        if found:
            text = f"the {name} in this folder is used, not the network {name} of {_package(found[0])}"
            warnings.warn(text, stacklevel=2)
        return path
    if not found:
        raise InputError(_unknown(name))
    if len(found) > 1:
        raise InputError(f"{name} is in several packages: {', '.join(map(_package, found))}; uninstall all but one")
    return _folder(found[0])


def _unknown(name: str) -> str:
    """The message about a name that is neither a path nor installed, with the installed names."""
    known = list(installed_networks())
    offer = f"installed: {', '.join(known)}{suggestion(name, known)}" if known else "no network is installed"
    more = f"; pip install {PACKAGE} installs nuclei and membranes" if not {"nuclei", "membranes"} <= set(known) else ""
    return f"no checkpoint at {name}: no such folder, and no installed network of this name; {offer}{more}"


def _package(entry: EntryPoint) -> str:
    """Name and version of an entry point's package, such as "unet-weights 0.1.0"."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "a package without a name"


def _folder(entry: EntryPoint) -> Path:
    """The checkpoint folder of an entry point, after its checksums are verified. Raises InputError."""
    damaged = f"the network {entry.name} of {_package(entry)} is damaged"
    again = f"install it again: pip install --force-reinstall {entry.dist.name if entry.dist else PACKAGE}"
    module, _, inner = (part.strip() for part in entry.value.partition(":"))  # EntryPoint's attributes may raise
    spec = _spec(module)
    places = [] if spec is None or spec.submodule_search_locations is None else spec.submodule_search_locations
    folder = next((Path(place, *inner.split(".")).absolute() for place in places), None)
    if folder is None or not is_checkpoint(folder):
        raise InputError(f"{damaged}: no checkpoint at {folder or entry.value}; {again}")
    for file in (entry.dist.files or ()) if entry.dist else ():
        located = Path(str(file.locate()))
        if file.hash is None or file.hash.mode != "sha256" or located.absolute().parent != folder:
            continue
        try:
            digest = hashlib.sha256(located.read_bytes()).digest()
        except OSError as e:
            raise InputError(f"{damaged}: {file.name} cannot be read ({e.strerror or e}); {again}") from None
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
            raise InputError(f"{damaged}: {file.name} differs from the file that was installed; {again}")
    return folder


def _spec(module: str) -> ModuleSpec | None:
    try:
        return find_spec(module)
    except (ImportError, ValueError):  # no such parent; empty name
        return None
