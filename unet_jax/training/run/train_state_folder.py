"""The TrainState of a run on disk, in OUT/state (Orbax). The old state is removed when the new one is complete."""

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
from unet_spec.errors import OutputError
from unet_spec.files import first_line

logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax logs every operation, and its exceptions too


@dataclass(frozen=True)
class SavedScores:
    """Scores that are saved beside the TrainState.

    Attributes:
        scores: scores of the last checkpoint.
        best: score of the best checkpoint so far.
        measured: step of the last checkpoint; −1: unknown, in states of earlier versions.
    """

    scores: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    measured: int = -1


def latest_step(folder: Path) -> int | None:
    """The step of the newest complete state, or None. Orbax renames a folder to its step number when it is complete."""
    return max((int(path.name) for path in folder.glob("*") if path.name.isdecimal()), default=None)


def unfinished_saves(folder: Path) -> Iterator[Path]:
    """Folders of incomplete states that a killed process left."""
    for path in folder.glob("*.orbax-checkpoint-tmp*"):
        if re.fullmatch(r"\d+\.orbax-checkpoint-tmp(-\d+)?", path.name) and path.is_dir() and not path.is_symlink():
            yield path


class TrainStateFolder:
    """Saves in the background, one state at a time. After the first save, one complete state is always on disk.

    Any method raises InputError if a write failed; earlier states are not affected.
    """

    def __init__(self, folder: Path):
        import orbax.checkpoint as ocp

        self.folder = folder
        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=True)
        with self._write_errors_as_input_error():
            self._manager = ocp.CheckpointManager(folder.resolve(), options=options)

    def latest(self) -> int | None:
        """The step of the newest complete state, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state: dict[str, Any], scores: SavedScores) -> None:
        """Starts to write a state under its step number; the previous state is removed when the write is complete.
        Returns after the arrays have been copied, so that the caller may donate them."""
        import orbax.checkpoint as ocp

        if step == self.latest():
            return
        # On a CPU, Orbax reads the arrays in place while the next step may overwrite them.
        copy = jax.tree.map(jnp.copy, state)
        with self._write_errors_as_input_error():
            items = ocp.args.Composite(state=ocp.args.StandardSave(copy), saved=ocp.args.JsonSave(asdict(scores)))
            self._manager.save(step, args=items, force=True)

    def restore(self, like: dict[str, Any]) -> tuple[dict[str, Any], SavedScores]:
        """The newest state, in the structure, shapes, dtypes and shardings of `like`."""
        import orbax.checkpoint as ocp

        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            items = ocp.args.Composite(state=ocp.args.StandardRestore(shapes), saved=ocp.args.JsonRestore())
            restored: Any = self._manager.restore(self.latest(), args=items)
        except (OSError, ValueError, KeyError) as e:
            raise InputError(
                f"cannot resume from {self.folder}: the state of step {self.latest()} is damaged or from "
                f"another network ({first_line(e, limit=1000)}); restore its files, or start another run"
            ) from None
        return restored.state, SavedScores(**json.loads(json.dumps(restored.saved)))

    def check(self) -> None:
        """Raises InputError if a write in the background has failed."""
        with self._write_errors_as_input_error():
            self._manager.check_for_errors()

    def close(self) -> None:
        """Waits for the write in progress."""
        with self._write_errors_as_input_error():
            self._manager.wait_until_finished()
        self._manager.close()

    @contextmanager
    def _write_errors_as_input_error(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, RuntimeError) as e:
            reason = getattr(e, "strerror", None) or first_line(e, limit=1000)
            note = "; the states saved before are kept" if latest_step(self.folder) is not None else ""
            raise OutputError(f"cannot write the training state to {self.folder}: {reason}{note}") from None
