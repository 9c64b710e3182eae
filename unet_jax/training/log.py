"""The log of a run, log.jsonl: one record per line, which process 0 writes immediately."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from unet_spec import InputError
from unet_spec.files import replacing, write_errors_as_input_error
from unet_spec.untrusted.strict_json import read_lines

from .run.train_state_folder import latest_step

Report = Callable[[dict[str, Any]], None]
"""Receives each record of the log when it is written. Before them, it receives {"step", "compiling": what} and {"step",
"compiled": seconds, "kept": whether an earlier process had compiled it}, which are not in the log."""


class RunLog:
    """The records of a run, in memory and in log.jsonl, and the speed of training.

    Attributes:
        path: log.jsonl.
        records: {"step", "loss", "learning_rate", "steps_per_second"}, or {"step"} with the validation scores and the
            validation loss.
    """

    def __init__(self, path: Path, report: Report):
        self.path, self.records = path, []
        self._report, self._writes = report, jax.process_index() == 0
        self._clock = (0, 0.0)

    def restart(self, step: int, measures_again: bool) -> None:
        """Drops the records that a killed run wrote after its last saved state, that of step `step`. With
        `measures_again`, also drops the scores of that step."""
        records = read_log(self.path, step) if step else []
        self.records = [r for r in records if not measures_again or r["step"] < step or "loss" in r]
        if self._writes:
            write_log(self.path, self.records)

    def start_clock(self, step: int) -> None:
        """Starts to measure the speed, after step `step`."""
        self._clock = step, time.perf_counter()

    def add_loss(self, step: int, loss: float, rate: float) -> None:
        """Adds a record: mean loss since the previous one, learning rate of the last step, and speed since the clock
        was started."""
        before, then = self._clock
        self.start_clock(step)
        speed = (step - before) / (self._clock[1] - then)
        self._add({"step": step, "loss": loss, "learning_rate": rate, "steps_per_second": speed})

    def add_scores(self, step: int, scores: dict[str, float]) -> None:
        """Adds the scores of the checkpoint of `step`; {} without validation data."""
        self._add({"step": step, **scores} if scores else {"step": step, "saved": True})

    def announce(self, record: dict[str, Any]) -> None:
        """Reports a compilation, which is not a record of the log."""
        if self._writes:
            self._report(record)

    def _add(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        if self._writes:
            append_log(self.path, record)
            self._report(record)


def read_log(path: Path, up_to: int) -> list[dict[str, Any]]:
    """The records up to a step. Raises InputError if a line is not a record."""
    if not path.exists():
        return []
    records = []
    for number, record in read_lines(path):
        values = record if isinstance(record, dict) else {}
        if type(values.get("step")) is not int or not all(
            v is None or isinstance(v, int | float) for v in values.values()
        ):
            raise InputError(f"{path}, line {number}: expected a record of numbers with a whole 'step'")
        if values["step"] <= up_to:
            records.append({name: math.nan if value is None else value for name, value in values.items()})
    return records


def write_log(path: Path, records: list[dict[str, Any]]) -> None:
    """Rewrites the whole file. Raises InputError like `append_log`."""
    with write_errors_as_input_error(path, _resume_note(path)), replacing(path) as temporary:
        temporary.write_text("".join(map(_line, records)))


def append_log(path: Path, record: dict[str, Any]) -> None:
    """Adds one line. Raises InputError if the disk is full or the folder cannot be written."""
    with write_errors_as_input_error(path, _resume_note(path)), path.open("a") as file:
        file.write(_line(record))


def _resume_note(log: Path) -> str:
    """The part of an error message about resuming the run; empty without a saved state."""
    saved = latest_step(log.parent / "state") is not None
    return "; the last saved state is kept: free disk space and continue with --resume" if saved else ""


def _line(record: dict[str, Any]) -> str:
    """One record as a line of JSON. Scores that do not exist are NaN here and null in the file, since JSON has no
    NaN."""
    values = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return json.dumps(values, allow_nan=False) + "\n"
