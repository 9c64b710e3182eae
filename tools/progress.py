"""Progress on standard error: bars on a terminal, a line now and then in a file."""

from __future__ import annotations

import time
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from unet_tools.console import notes


class TrainingProgress:
    """A bar with step, loss, steps per second and time left, or a line of them now and then where there is no terminal;
    and a line for each measurement on validation data."""

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
        self._steps, self._quiet, self._told = steps, quiet, time.perf_counter()

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
            if self._bar.disable and not self._quiet and (now := time.perf_counter()) - self._told > LINE_EVERY:
                self._told = now
                notes.print(f"step {record['step']} of {self._steps}: {told}", soft_wrap=True)
        elif not self._quiet and "pixel_accuracy" in record:
            scores = "  ".join(f"{k} {v:.4f}" for k, v in record.items() if k != "step")
            notes.print(f"step {record['step']}: {scores}", soft_wrap=True)


LINE_EVERY = 60.0
"""Seconds between two lines where a bar would go into a file."""


class PixelProgress:
    """Megapixels done, megapixels a second, time left."""

    def __init__(self, name: str, total: int, before: int, quiet: bool = False):
        """total: pixels; before: those that an earlier run has done."""
        self._bar = Progress(
            TextColumn(name),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            console=notes,
            disable=quiet or not notes.is_terminal,
        )
        self._name, self._quiet, self._total, self._done, self._before = name, quiet, total, before, before
        self._start = self._line = time.perf_counter()
        self._task = self._bar.add_task(name, total=total, completed=before, told="")

    def __enter__(self) -> PixelProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def written(self, number: int, pixels: int) -> None:
        """Takes note of a tile that is on the disk: its number, its pixels."""
        now = time.perf_counter()
        self._done += pixels
        rate = (self._done - self._before) / max(now - self._start, 1e-9)
        left = int((self._total - self._done) / rate)
        told = (
            f"{self._done / 1e6:.1f} of {self._total / 1e6:.1f} megapixels, {rate / 1e6:.2f} a second, "
            f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left"
        )
        self._bar.update(self._task, completed=self._done, told=told)
        if not self._quiet and not notes.is_terminal and now - self._line >= LINE_EVERY:
            self._line = now
            notes.print(f"{self._name}: {told}", soft_wrap=True)
