"""Progress bars on standard error."""

from __future__ import annotations

from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from unet_tools.console import notes


class TrainingProgress:
    """A bar with step, loss, steps per second and time left; a line for each measurement on validation data."""

    def __init__(self, steps: int, quiet: bool = False):
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
            console=notes,
            disable=quiet or not notes.is_terminal,  # a file has no use for a bar
        )
        self._task = self._bar.add_task("training", total=steps, told="compiling")
        self._quiet = quiet

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def report(self, record: dict[str, Any]) -> None:
        """Takes a record of the training log."""
        if "loss" in record:
            told = f"loss {record['loss']:.4f}  {record['steps_per_second']:.1f} steps/s"
            self._bar.update(self._task, completed=record["step"], told=told)
        elif not self._quiet and "pixel_accuracy" in record:
            scores = "  ".join(f"{k} {v:.4f}" for k, v in record.items() if k != "step")
            notes.print(f"step {record['step']}: {scores}")
