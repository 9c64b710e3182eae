"""Orbax checkpoints to checkpoint folders (config.json and model.safetensors), and back, bit for bit.

What is written is a folder with two items: `state`, {"params", "batch_stats"} under Flax's names and axes, and
`config`, which is config.json. What is read may also be the `state` folder of a training run, or anybody's Orbax
checkpoint of the same tree, as Flax's Linen and NNX save it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec import Checkpoint, DataSpec, InputError, NetworkConfig
from unet_spec.weight_map import entries, to_flax, to_pytorch

logging.getLogger("absl").setLevel(logging.CRITICAL)  # as in `unet_jax.state`
STATE, CONFIG = "state", "config"


def save_orbax(checkpoint: Checkpoint, folder: str | os.PathLike[str]) -> None:
    """Writes an Orbax checkpoint to a folder that does not exist yet. Raises InputError."""
    import orbax.checkpoint as ocp

    path = Path(folder).resolve()
    if path.exists():
        raise InputError(f"{folder} exists already; an Orbax checkpoint is a folder of its own")
    arrays = to_flax(checkpoint.config.graph, checkpoint.tensors)
    tree: dict[str, Any] = {}
    for entry in entries(checkpoint.config.graph):
        node = tree.setdefault("batch_stats" if entry.role == "buffer" else "params", {})
        for part in entry.flax[:-1]:
            node = node.setdefault(part, {})
        node[entry.flax[-1]] = arrays[entry.flax]
    values = checkpoint.config.to_dict() | {"data": {k: list(v) for k, v in asdict(checkpoint.data).items()}}
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as writer:
            items = ocp.args.Composite(**{STATE: ocp.args.StandardSave(tree), CONFIG: ocp.args.JsonSave(values)})
            writer.save(path, items)
    except OSError as e:
        raise InputError(f"cannot write {folder}: {e.strerror or e}") from None


def load_orbax(folder: str | os.PathLike[str], config: NetworkConfig | None = None) -> Checkpoint:
    """Reads an Orbax checkpoint.

    config: the network, where the folder does not say it: only those that `save_orbax` wrote do. Raises InputError: no
    Orbax checkpoint, no config, tensors that are not the network's (naming them).
    """
    path = Path(folder).resolve()
    if not path.is_dir():
        raise InputError(f"no Orbax checkpoint at {folder}: " + ("it is a file" if path.exists() else "no such folder"))
    path = _newest_step(path)
    data = DataSpec()
    if (path / CONFIG).is_dir():
        found, data = _read_config(path / CONFIG)
        if config is not None and config != found:
            raise InputError(f"{folder} is of another network than the config that was given")
        config = found
    if config is None:
        raise InputError(f"{folder} does not say which network it is of; give its config")
    tree = _restore(path / STATE if (path / STATE).is_dir() else path, folder)
    arrays = {names: np.asarray(array) for names, array in _weights(tree)}
    return Checkpoint(config, to_pytorch(config.graph, arrays), data)


def _newest_step(path: Path) -> Path:
    """Of the folder of a checkpoint manager, that of its last step."""
    steps = [p for p in path.iterdir() if p.name.isdigit() and p.is_dir()]
    return max(steps, key=lambda p: int(p.name)) if steps else path


def _read_config(path: Path) -> tuple[NetworkConfig, DataSpec]:
    files = [p for p in path.iterdir() if p.is_file() and not p.name.startswith("_")]
    try:
        values = json.loads(files[0].read_text(encoding="utf-8"))
        data = values.pop("data", {})
    except (IndexError, ValueError, AttributeError, OSError) as e:
        raise InputError(f"{path}: not a readable config ({e})") from None
    return NetworkConfig.from_dict(values, str(path)), DataSpec.from_dict(data, str(path))


def _restore(path: Path, folder: str | os.PathLike[str]) -> Any:
    import orbax.checkpoint as ocp

    try:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
            metadata: Any = reader.metadata(path).item_metadata
            tree = getattr(metadata, "tree", metadata)
            # As NumPy, not sharded as when it was written: the devices of then may not be here.
            import jax

            wanted = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
            return reader.restore(path, args=ocp.args.PyTreeRestore(restore_args=wanted))
    except Exception as e:  # of many kinds, from missing files to other formats
        told = (str(e).strip().splitlines() or [type(e).__name__])[0]
        raise InputError(f"{folder}: not a readable Orbax checkpoint ({told})") from None


def _weights(tree: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Names and arrays of the parameters and statistics in a tree: all of it, or of those collections that it has."""
    collections = ("params", "batch_stats", "stats")
    if isinstance(tree, Mapping) and "params" in tree:
        parts = [tree[name] for name in collections if tree.get(name) is not None]
    else:
        parts = [tree]
    for part in parts:
        yield from _leaves(part, ())


def _leaves(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(tree, Mapping):
        for name, part in tree.items():
            yield from _leaves(part, (*path, str(name)))
    elif isinstance(tree, list | tuple):
        for number, part in enumerate(tree):
            yield from _leaves(part, (*path, str(number)))
    elif tree is not None:
        yield path[:-1] if path and path[-1] == "value" else path, tree  # NNX keeps a variable's array under "value"
