"""Reads and writes Keras files: `.h5` of Keras 2 and 3, `.weights.h5`, and `.keras`, a zip with an .h5. Needs only
h5py.

Tensors are called "0.kernel", "0.bias", "1.kernel", … by the index of their layer among the layers with weights. The
network's JSON is read as data; no layer is built, so the code of Lambda layers is never unpickled. Links to other
files, compressed or virtual data, and sizes larger than the file are refused before they are followed or allocated.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec import InputError
from unet_spec.files import first_line
from unet_spec.untrusted.strict_json import parse_json

Tensors = dict[str, np.ndarray]
_INNER = "model.weights.h5"
_LEAVES = {"0": "kernel", "1": "bias", "kernel": "kernel", "bias": "bias"}


def read_keras(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """The tensors with Keras' axes (H, W, I, O), and everything needed to write the file again: "model_config" (the
    network's JSON, if present), "paths" of the tensors, "attributes" of groups, and other "files" of a zip.

    Raises InputError if the file is damaged or declares more data than it contains."""
    h5py = _h5py(path)
    try:
        size, extra = path.stat().st_size, {}
        content: Any = path
        if path.suffix == ".keras":
            content, extra["files"] = _unzipped(path, size)
        with h5py.File(content, "r") as file:
            tensors, rest = _read(file, size, path)
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, RuntimeError, UnicodeDecodeError) as e:
        if isinstance(e, InputError):
            raise
        raise InputError(f"{path}: not a readable Keras file ({first_line(e)})") from None
    described = extra.get("files", {}).get("config.json") or rest["attributes"].get("/", {}).get("model_config")
    if described:
        extra["model_config"] = parse_json(described, f"{path}, the network's description", finite=False)
    return tensors, {**extra, **rest}


def write_keras(tensors: Mapping[str, np.ndarray], extra: Mapping[str, Any], path: Path) -> None:
    """Writes the tensors of `read_keras` to the same paths; weights that were not read from Keras become a
    `.weights.h5`, for `model.load_weights`. Raises InputError for a `.keras` without the network's JSON."""
    h5py = _h5py(path)
    files, memory = extra.get("files"), io.BytesIO()
    if path.suffix == ".keras" and not files:
        raise InputError(
            "a .keras file needs Keras' own description of the network, which is not available here; write a .h5"
        )
    paths = extra.get("paths") or {name: _place(name) for name in tensors}
    with h5py.File(memory, "w") as file:  # in memory, since HDF5 ends the process if the disk is full
        for group in extra.get("groups", ()):
            file.require_group(group)
        for name, tensor in tensors.items():
            file.create_dataset(paths[name], data=tensor)
        for group, attributes in extra.get("attributes", {}).items():
            for key, value in attributes.items():
                file[group].attrs[key] = value
    if path.suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in (files or {}).items():
                archive.writestr(name, text)
            archive.writestr(_INNER, memory.getvalue())
    else:
        path.write_bytes(memory.getbuffer())


def _h5py(path: Path) -> Any:
    try:
        import h5py
    except ModuleNotFoundError:
        raise InputError(f"{path} needs h5py; pip install 'unet-twins[keras]'") from None
    return h5py


def _unzipped(path: Path, size: int) -> tuple[io.BytesIO, dict[str, str]]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if sum(e.file_size for e in entries) > size or any(e.compress_type != zipfile.ZIP_STORED for e in entries):
            raise InputError(f"{path}: a zip whose entries unpack to more than its size; Keras writes no such file")
        texts = {e.filename: archive.read(e).decode() for e in entries if e.filename.endswith(".json")}
        return io.BytesIO(archive.read(_INNER)), texts


def _read(file: Any, size: int, path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Reads a file. Follows only hard links, no soft or external links."""
    import h5py

    datasets: dict[str, Any] = {}
    groups: list[str] = []
    attributes = {"/": _attributes(file, size, path)} if file.attrs else {}

    def visit(name: str, item: Any) -> None:
        if item.attrs:
            attributes[name] = _attributes(item, size, path)
        if isinstance(item, h5py.Dataset):
            datasets[name] = item
        else:
            groups.append(name)

    file.visititems(visit)
    if sum(dataset.nbytes for dataset in datasets.values()) > size:
        raise InputError(f"{path}: declares more data than the file holds; nothing was read")
    for name, dataset in datasets.items():
        plain = dataset.id.get_create_plist().get_nfilters() == 0 and not dataset.is_virtual and not dataset.external
        if not plain or dataset.dtype.kind != "f" or dataset.id.get_storage_size() != dataset.nbytes:
            raise InputError(f"{path}: {name} is not a plain array of floats; Keras writes no such file")
    paths = _named(list(datasets), attributes)
    tensors = {name: np.array(datasets[place][()]) for name, place in paths.items()}
    return tensors, {"paths": paths, "groups": groups, "attributes": attributes}


def _named(places: list[str], attributes: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Maps short tensor names to paths in the file. The older format lists its layers in order; the newer one numbers
    them."""
    root = "model_weights" if "layer_names" in attributes.get("model_weights", {}) else "/"
    order = attributes.get(root, {}).get("layer_names")
    if order is not None:
        prefix = "" if root == "/" else f"{root}/"
        layers = [[p for p in places if p.startswith(f"{prefix}{layer}/")] for layer in order]
    else:
        parents = sorted({p.rpartition("/")[0] for p in places}, key=_number)
        layers = [[p for p in places if p.rpartition("/")[0] == parent] for parent in parents]
    named = {}
    for i, layer in enumerate(filter(None, layers)):
        for place in layer:
            last = place.rpartition("/")[2].partition(":")[0]
            named[f"{i}.{_LEAVES.get(last, last)}"] = place
    return named


def _number(place: str) -> tuple[str, int]:
    """Sort key: conv2d before conv2d_1 before conv2d_10."""
    layer = place.removesuffix("/vars").rpartition("/")[2]
    name, _, number = layer.rpartition("_")
    return (name, int(number)) if number.isdecimal() else (layer, 0)


def _place(name: str) -> str:
    layer, _, leaf = name.partition(".")
    return f"layers/conv2d{'' if layer == '0' else '_' + layer}/vars/{'0' if leaf == 'kernel' else '1'}"


def _attributes(item: Any, size: int, path: Path) -> dict[str, Any]:
    """Attributes that are texts or lists of texts, for JSON; others are left out."""
    texts: dict[str, Any] = {}
    for key in item.attrs:
        if int(np.prod(item.attrs.get_id(key).shape)) > size:
            raise InputError(f"{path}: the attribute {key} declares more data than the file holds")
        value = item.attrs[key]
        values = value.tolist() if isinstance(value, np.ndarray) else value
        if isinstance(values, list):
            texts[key] = [v.decode() if isinstance(v, bytes) else str(v) for v in values]
        elif isinstance(values, str | bytes):
            texts[key] = values.decode() if isinstance(values, bytes) else values
    return texts
