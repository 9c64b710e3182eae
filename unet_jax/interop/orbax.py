"""Converts between Orbax checkpoints and checkpoint folders (config.json and model.safetensors), bit for bit.

`save_orbax` writes a folder with two items: `state`, {"params", "batch_stats"} with Flax's names and axes, and
`config`, the content of config.json. `load_orbax` also reads the `state` folder of a training run, and any Orbax
checkpoint of the same tree saved from Flax Linen or NNX.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec import Checkpoint, DataSpec, InputError, NetworkConfig
from unet_spec.errors import OutputError
from unet_spec.files import first_line, remove, replacing
from unet_spec.untrusted.strict_json import read_object
from unet_spec.weights.weight_map import entries, to_flax, to_pytorch

logging.getLogger("absl").setLevel(logging.CRITICAL)  # as in `unet_jax.training.run.train_state_folder`
STATE, CONFIG = "state", "config"


def save_orbax(checkpoint: Checkpoint, folder: str | os.PathLike[str]) -> None:
    """Writes a checkpoint as an Orbax checkpoint.

    Args:
        checkpoint: config and weights.
        folder: a folder that does not exist yet.

    Raises:
        InputError: the folder exists.
        OutputError: it cannot be written.

    Example:
        >>> from unet_jax import load_orbax, save_orbax
        >>> from unet_spec import Checkpoint, preset, random_tensors
        >>> config = preset("paper", widths=(2, 4))
        >>> checkpoint = Checkpoint(config, random_tensors(config.graph, seed=0))
        >>> save_orbax(checkpoint, "orbax")
        >>> load_orbax("orbax").config == config
        True
    """
    import orbax.checkpoint as ocp

    path = Path(folder).resolve()
    if path.exists():
        raise InputError(f"{folder} exists; give a new folder for the Orbax checkpoint")
    arrays = to_flax(checkpoint.config.graph, checkpoint.tensors)
    tree: dict[str, Any] = {}
    for entry in entries(checkpoint.config.graph):
        node = tree.setdefault("batch_stats" if entry.role == "buffer" else "params", {})
        for part in entry.flax[:-1]:
            node = node.setdefault(part, {})
        node[entry.flax[-1]] = arrays[entry.flax]
    values = checkpoint.config.to_dict() | {"data": checkpoint.data.to_dict()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as fresh:
            try:
                with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as writer:
                    items = ocp.args.Composite(
                        **{STATE: ocp.args.StandardSave(tree), CONFIG: ocp.args.JsonSave(values)}
                    )
                    writer.save(fresh, items)
            except BaseException:
                _remove_what_was_begun(fresh)
                raise
    except Exception as e:  # TensorStore's errors on a full disk are ValueErrors
        raise OutputError(f"cannot write {folder}: {getattr(e, 'strerror', None) or first_line(e)}") from None


def _remove_what_was_begun(folder: Path) -> None:
    """Removes Orbax's own temporary folders, until they stay away.

    After a failed save, threads of TensorStore still write for a moment, and make the folders that they miss.
    """
    quiet = 0
    while quiet < 3:
        begun = list(folder.parent.glob(f"{folder.name}.orbax-checkpoint-tmp*"))
        for path in begun:
            with suppress(OSError):  # a file came while its folder was emptied
                remove(path)
        quiet = 0 if begun else quiet + 1
        time.sleep(0.05)


def load_orbax(folder: str | os.PathLike[str], config: NetworkConfig | None = None) -> Checkpoint:
    """Reads an Orbax checkpoint, bit for bit.

    Args:
        folder: a folder from `save_orbax`, the state/ of a training run, or Linen or NNX variables from another
            program.
        config: the network; needed unless `save_orbax` wrote the folder.

    Raises:
        InputError: the folder has no Orbax checkpoint, the config is missing, or tensors, which the message names, do
            not match the network.

    Example:
        >>> from pathlib import Path
        >>> from unet_data import membranes
        >>> from unet_jax import TrainSettings, load_orbax, preset, train
        >>> config, settings = preset("paper", widths=(2, 4)), TrainSettings().replace(steps=1, tile=28)
        >>> run = train(config, settings, membranes(1, 40, seed=0), None, Path("run"))
        >>> load_orbax("run/state", config).save("checkpoint")
    """
    path = Path(folder).resolve()
    if not path.is_dir():
        raise InputError(f"no Orbax checkpoint at {folder}: " + ("it is a file" if path.exists() else "no such folder"))
    path = _newest_step(path)
    data = DataSpec()
    if (path / CONFIG).is_dir():
        stored, data = _read_config(path / CONFIG)
        if config is not None and config != stored:
            raise InputError(f"{folder} contains another network than the given config")
        config = stored
    if config is None:
        raise InputError(f"{folder} has no config of its network; give its config")
    tree = _restore(path / STATE if (path / STATE).is_dir() else path, folder)
    arrays = {names: np.asarray(array) for names, array in _weights(tree)}
    return Checkpoint(config, to_pytorch(config.graph, arrays), data)


def _newest_step(path: Path) -> Path:
    """The folder of the last step in a checkpoint manager's folder."""
    steps = [p for p in path.iterdir() if p.name.isdigit() and p.is_dir()]
    return max(steps, key=lambda p: int(p.name)) if steps else path


def _read_config(path: Path) -> tuple[NetworkConfig, DataSpec]:
    files = [p for p in path.iterdir() if p.is_file() and not p.name.startswith("_")]
    try:
        values = read_object(files[0])
    except (IndexError, OSError) as e:
        raise InputError(f"{path}: not a readable config ({e})") from None
    data = values.pop("data", {})
    return NetworkConfig.from_dict(values, str(path)), DataSpec.from_dict(data, str(path))


def _restore(path: Path, folder: str | os.PathLike[str]) -> Any:
    import orbax.checkpoint as ocp

    try:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
            metadata: Any = reader.metadata(path).item_metadata
            tree = getattr(metadata, "tree", metadata)
            # As NumPy, without the saved shardings: their devices may not exist here.
            import jax

            arguments = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
            return reader.restore(path, args=ocp.args.PyTreeRestore(restore_args=arguments))
    except Exception as e:  # Orbax raises many kinds of errors
        raise InputError(f"{folder}: not a readable Orbax checkpoint ({first_line(e, limit=1000)})") from None


def _weights(tree: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Names and arrays of the parameters and statistics in a tree with or without collections."""
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
