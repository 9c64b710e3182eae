"""Files of named tensors: PyTorch, safetensors and Keras. Reading never runs code; writing is atomic.

Names and axes are those of the file. `formats` maps them to networks.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec import InputError
from unet_spec.files import writing
from unet_spec.untrusted.strict_json import parse_json
from unet_spec.weights.checkpoint import read_tensors

from .file_kinds import Kind, kind_of
from .folders import check_smp, weight_files
from .unwrap import Known, find_weights

Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Read:
    """Content of a file: tensors by name, other data that JSON can represent, and the decisions made while reading."""

    tensors: dict[str, np.ndarray]
    metadata: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def read_files(path: Path, known: Known = lambda names: False, key: str | None = None) -> Read:
    """Reads the weights of a file (recognised by its content), of a folder, or of an index of shards.

    Args:
        path: The file or folder.
        known: Recognises a network by its tensor names; used to find the weights among several sets of tensors.
        key: Entry or prefix to read, if there are several.

    Raises:
        InputError: The file has no weights, is damaged, or would run code.
    """
    files, config = weight_files(path)
    notes = check_smp(config, path)
    contents, metadata = {}, {}
    for file in files:
        kind = kind_of(file)
        if kind == "pytorch" and len(files) == 1:
            return _read_pytorch(file, known, key, notes)
        if kind == "pytorch":
            one = _read_pytorch(file, lambda names: False, None, [])
            contents |= one.tensors
        elif kind == "safetensors":
            contents |= read_tensors(file)
            metadata |= _our_metadata(file)
        else:
            from .keras_files import read_keras

            return Read(*read_keras(file), notes)
    if "config" in metadata and key is None:
        return Read(contents, metadata, notes)
    selected = find_weights(contents, known, key, str(path))
    return Read(selected.tensors, metadata, notes + selected.notes())


def _read_pytorch(path: Path, known: Known, key: str | None, notes: list[str]) -> Read:
    from unet_torch.pth import read_file

    decided: list[str] = []

    def choose(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        selected = find_weights(values, known, key, str(path))
        decided.extend(selected.notes())
        beside, entry = dict(values), ".".join(selected.entry)
        for name in selected.entry:
            outer, beside = beside, dict(beside[name])
            beside |= {k: v for k, v in outer.items() if k != name}
        beside = {k: v for k, v in beside.items() if not hasattr(v, "shape")}
        return selected.tensors, beside | ({"weights_key": entry} if len(selected.entry) == 1 else {})

    file = read_file(path, choose)
    return Read(file.tensors, file.metadata, notes + decided)


def write_file(path: Path, tensors: Tensors, metadata: Mapping[str, Any], kind: Kind | None = None) -> None:
    """Writes one file, atomically.

    Args:
        path: the file. Its folder is created if missing.
        tensors: tensors by name. Names that share an array share a tensor in a PyTorch file.
        metadata: other content of the file; for safetensors, text by name.
        kind: None: by the name: .safetensors, .h5 or .keras, otherwise a PyTorch file.

    Raises:
        InputError: the file cannot be written, or a .keras file lacks the description of its network.
    """
    kinds: dict[str, Kind] = {".safetensors": "safetensors", ".h5": "keras", ".hdf5": "keras", ".keras": "keras"}
    kind = kind or kinds.get(path.suffix, "pytorch")
    with writing(path) as temporary:
        if kind == "keras":
            from .keras_files import write_keras

            write_keras(tensors, metadata, temporary)
        elif kind == "safetensors":
            from safetensors.numpy import save

            temporary.write_bytes(save({name: np.asarray(t, order="C") for name, t in tensors.items()}, dict(metadata)))
        else:
            import torch

            from unet_torch.weights import to_tensor

            shared = {id(t): to_tensor(t) for t in tensors.values()}
            state = {name: shared[id(t)] for name, t in tensors.items()}
            key = metadata.get("weights_key")
            rest = {name: value for name, value in metadata.items() if name != "weights_key"}
            content = io.BytesIO()  # torch.save's errors on a full disk are unclear
            torch.save(state | rest if key is None else {key: state, **rest}, content)
            temporary.write_bytes(content.getbuffer())


def _our_metadata(path: Path) -> dict[str, Any]:
    """The config that `formats.write` stores in a safetensors file; empty for files of other programs."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        text = (file.metadata() or {}).get("config")
    try:
        values = parse_json(text or "", path)
    except InputError:
        return {}
    ours = isinstance(values, dict) and ("architecture" in values or "widths" in values)
    return {"config": text} if ours else {}
