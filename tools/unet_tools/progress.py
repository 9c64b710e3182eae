"""Progress on standard error: a bar on a terminal, otherwise lines at intervals."""

from __future__ import annotations

import time
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from unet_data import Progress as FileProgress
from unet_spec.untrusted.text import visible

from .console import notes

LINE_EVERY = 60.0
"""Seconds between two lines if there is no terminal for a bar."""


class _Bar:
    """A progress bar as a context manager. `columns`: columns before and after the bar, one of them for the text of
    `show`."""

    def __init__(self, columns: list[str | ProgressColumn], total: int, done: int = 0, quiet: bool = False):
        self._bar = Progress(*columns, console=notes, disable=quiet or not notes.is_terminal)
        self._task = self._bar.add_task("", total=total, completed=done, text="")
        self._quiet, self._printed = quiet, time.perf_counter()

    def __enter__(self) -> Any:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _show(self, done: float, text: str, name: str) -> None:
        self._bar.update(self._task, completed=done, text=text)
        now = time.perf_counter()
        if not self._quiet and not notes.is_terminal and now - self._printed >= LINE_EVERY:
            self._printed = now
            notes.print(f"{name}: {text}")


_TEXT = TextColumn("{task.fields[text]}")


class TrainingProgress(_Bar):
    """Progress of a training run: compilations with their seconds; losses, learning rate, images per second and time
    left; and a line for each validation.

    Args:
        steps: steps of the run. batch: images per step. quiet: print nothing.
    """

    def __init__(self, steps: int, batch: int = 1, quiet: bool = False):
        columns = [TextColumn("training"), BarColumn(), MofNCompleteColumn(), _TEXT, _Seconds()]
        super().__init__(columns, steps, quiet=quiet)
        self._bar.update(self._task, since=None)
        self._steps, self._batch = steps, batch
        self._validation: float | None = None
        self._clock: tuple[int, float] | None = None

    def report(self, record: dict[str, Any]) -> None:
        """Receives a record from `unet_jax.train`."""
        if self._quiet:
            return
        if "compiling" in record:
            self._bar.update(self._task, text=f"compiling {record['compiling']}", since=time.perf_counter())
            if not notes.is_terminal:
                notes.print(f"compiling {record['compiling']}, once; this may take minutes")
        elif "compiled" in record:
            self._clock = record["step"], time.perf_counter()
            self._bar.update(self._task, text="", since=None)
            kept = ", since an earlier run compiled it" if record["kept"] else ""
            notes.print(f"compiled in {record['compiled']:.0f} s{kept}")
        elif "loss" in record:
            self._show(record["step"], self._speed(record), f"step {record['step']} of {self._steps}")
        elif "iou" in record:
            self._validation = record.get("validation_loss")
            shown = {k: v for k, v in record.items() if k not in _UNSHOWN and not k.endswith("_threshold")}
            scores = "  ".join(f"{k.replace('_', ' ')} {v:.4f}" for k, v in shown.items())
            notes.print(f"step {record['step']}: {scores}")

    def _speed(self, record: dict[str, Any]) -> str:
        parts = [f"loss {record['loss']:.4f}"]
        if self._validation is not None:
            parts.append(f"validation loss {self._validation:.4f}")
        if "learning_rate" in record:
            parts.append(f"learning rate {record['learning_rate']:.1e}")
        parts.append(f"{record['steps_per_second'] * self._batch:.1f} images/s")
        if self._clock is not None and record["step"] > self._clock[0]:  # validations take part of the time
            first, then = self._clock
            each = (time.perf_counter() - then) / (record["step"] - first)
            parts.append(f"{_clock(each * (self._steps - record['step']))} left")
        return ", ".join(parts)


_UNSHOWN = ("step", "pixel_error", "adapted_rand_error")
"""Scores of a validation that are not printed, since they follow from others or interest few users; log.jsonl has
all."""


class _Seconds(ProgressColumn):
    """Seconds since the start of the current operation, if known: `since` of the task."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        since = task.fields.get("since")
        return Text("" if since is None else f"{time.perf_counter() - since:.0f} s")


class PixelProgress(_Bar, FileProgress):
    """Progress of `unet_data.predict_file`: warnings, the plan, and a bar of megapixels with rate and time left.

    Args:
        name: name of the file. quiet: print only warnings.
    """

    def __init__(self, name: str, quiet: bool = False):
        column = TextColumn("{task.description}", markup=False)  # a file name may contain markup or format characters
        super().__init__([column, BarColumn(), _TEXT], 0, quiet=quiet)
        self._bar.update(self._task, description=visible(name))
        self._name = name

    def __enter__(self) -> PixelProgress:
        return self  # the bar is started by `planned`

    def warn(self, message: str) -> None:
        notes.print(f"warning: {message}")

    def planned(self, message: str, total: int, before: int) -> None:
        if not self._quiet:
            notes.print(message, style="dim")
        self._total, self._done, self._before = total, before, before
        self._start = time.perf_counter()
        self._bar.update(self._task, total=total, completed=before)
        self._bar.start()

    def labelled(self, number: int, count: int) -> None:
        self._show(self._done, f"objects of block {number + 1} of {count}", self._name)

    def written(self, number: int, pixels: int) -> None:
        self._done += pixels
        rate = (self._done - self._before) / max(time.perf_counter() - self._start, 1e-9)
        left = int((self._total - self._done) / rate)
        self._show(
            self._done,
            f"{self._done / 1e6:.1f} of {self._total / 1e6:.1f} megapixels, {rate / 1e6:.2f} per second, "
            f"{_clock(left)} left",
            self._name,
        )


class ImagesProgress(_Bar):
    """One bar for several images: number of finished images, and time left.

    Args:
        total: number of images. quiet: print only warnings.
    """

    def __init__(self, total: int, quiet: bool = False):
        super().__init__([BarColumn(), _TEXT], total, quiet=quiet)
        self._total, self._start = total, time.perf_counter()
        self.report(0)

    def report(self, done: float) -> None:
        """Receives the number of finished images, including the fraction of the current one."""
        passed = time.perf_counter() - self._start
        left = f", {_clock(passed / done * (self._total - done))} left" if done else ""
        self._show(done, f"{min(int(done) + 1, self._total)} of {self._total}{left}", "image")


class OneOfProgress(FileProgress):
    """Progress of `unet_data.predict_file` for one of several images.

    Args:
        bar: the bar of all images. number: number of images before this one.
    """

    def __init__(self, bar: ImagesProgress, number: int):
        self._bar, self._number = bar, number

    def warn(self, message: str) -> None:
        notes.print(f"warning: {message}")

    def planned(self, message: str, total: int, before: int) -> None:
        self._total, self._done = max(total, 1), before

    def written(self, number: int, pixels: int) -> None:
        self._done += pixels
        self._bar.report(self._number + min(1.0, self._done / self._total))


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
