"""The whole state of a training on disk (Orbax): written beside the old one, which goes once the new one is whole."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jax

from unet_spec import InputError

logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax tells every step of its work


@dataclass(frozen=True)
class Saved:
    """What is kept beside the arrays: the scores of the last and of the best checkpoint so far."""

    scores: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)


def _manager(folder: Path) -> Any:
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
    return ocp.CheckpointManager(folder.resolve(), options=options)


def latest(folder: Path) -> int | None:
    """The step of the newest whole state in the folder, or None."""
    if not folder.is_dir():
        return None
    with _manager(folder) as manager:
        return manager.latest_step()


def save(folder: Path, step: int, state: dict[str, Any], saved: Saved) -> None:
    """Writes a state under its step number and removes the one before it. Raises InputError where it cannot."""
    import orbax.checkpoint as ocp

    try:
        with _manager(folder) as manager:
            items = ocp.args.Composite(state=ocp.args.StandardSave(state), saved=ocp.args.JsonSave(asdict(saved)))
            manager.save(step, args=items, force=True)
    except OSError as e:
        raise InputError(f"cannot write the training state to {folder}: {e.strerror or e}") from None


def restore(folder: Path, like: dict[str, Any]) -> tuple[dict[str, Any], Saved]:
    """The newest state, in the structure, shapes and dtypes of `like`. Raises InputError where it does not fit."""
    import orbax.checkpoint as ocp

    shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    try:
        with _manager(folder) as manager:
            items = ocp.args.Composite(state=ocp.args.StandardRestore(shapes), saved=ocp.args.JsonRestore())
            found = manager.restore(manager.latest_step(), args=items)
    except (OSError, ValueError, KeyError) as e:
        raise InputError(f"cannot resume from {folder}: {str(e).splitlines()[0]}") from None
    return found.state, Saved(**json.loads(json.dumps(found.saved)))
