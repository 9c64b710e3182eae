"""The whole state of a training on disk (Orbax): written beside the old one, which goes once the new one is whole."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from unet_spec import InputError

logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax tells every step of its work, and what it raises too


@dataclass(frozen=True)
class Saved:
    """What is kept beside the arrays: the scores of the last and of the best checkpoint so far, and the step of the
    last one (−1: not known, in states of earlier versions)."""

    scores: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    measured: int = -1


def latest_step(folder: Path) -> int | None:
    """Of the newest whole state, None without one: Orbax names each folder after its step when it is whole."""
    return max((int(path.name) for path in folder.glob("*") if path.name.isdecimal()), default=None)


def unfinished(folder: Path) -> Iterator[Path]:
    """The folders of states that Orbax had begun to write when the process was killed."""
    for path in folder.glob("*.orbax-checkpoint-tmp*"):
        if re.fullmatch(r"\d+\.orbax-checkpoint-tmp(-\d+)?", path.name) and path.is_dir() and not path.is_symlink():
            yield path


class StateFolder:
    """Saves in the background, one state at a time. A state that is there is whole; at least one is, once one was.

    Raises InputError, from any method, where a write failed: what was saved before stays.
    """

    def __init__(self, folder: Path):
        import orbax.checkpoint as ocp

        self.folder = folder
        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=True)
        with self._told():
            self._manager = ocp.CheckpointManager(folder.resolve(), options=options)

    def latest(self) -> int | None:
        """The step of the newest whole state, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state: dict[str, Any], saved: Saved) -> None:
        """Begins to write a state under its step number; the one before goes when it is done. Returns once the arrays
        have been copied, so that the caller may donate them."""
        import orbax.checkpoint as ocp

        if step == self.latest():
            return
        # On a CPU, Orbax reads the arrays where they lie while the next step already writes there.
        kept = jax.tree.map(jnp.copy, state)
        with self._told():
            items = ocp.args.Composite(state=ocp.args.StandardSave(kept), saved=ocp.args.JsonSave(asdict(saved)))
            self._manager.save(step, args=items, force=True)

    def restore(self, like: dict[str, Any]) -> tuple[dict[str, Any], Saved]:
        """The newest state, in the structure, shapes, dtypes and shardings of `like`."""
        import orbax.checkpoint as ocp

        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            items = ocp.args.Composite(state=ocp.args.StandardRestore(shapes), saved=ocp.args.JsonRestore())
            found: Any = self._manager.restore(self.latest(), args=items)
        except (OSError, ValueError, KeyError) as e:
            told = (str(e).splitlines() or [type(e).__name__])[0]
            raise InputError(
                f"cannot resume from {self.folder}: the state of step {self.latest()} is damaged or of another network "
                f"({told}); bring back its files, or begin another run"
            ) from None
        return found.state, Saved(**json.loads(json.dumps(found.saved)))

    def check(self) -> None:
        """Raises where a write in the background has failed."""
        with self._told():
            self._manager.check_for_errors()

    def close(self) -> None:
        """Waits for what is still being written."""
        with self._told():
            self._manager.wait_until_finished()
        self._manager.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, RuntimeError) as e:
            told = getattr(e, "strerror", None) or (str(e).splitlines() or [type(e).__name__])[0]
            kept = "; what was saved before is kept" if latest_step(self.folder) is not None else ""
            raise InputError(f"cannot write the training state to {self.folder}: {told}{kept}") from None
