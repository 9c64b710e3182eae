"""Long tasks of the plugin: they yield their progress and can be cancelled."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

Result = TypeVar("Result")


class Cancelled(Exception):
    """The user cancelled the task."""


@dataclass(frozen=True)
class Step:
    """Progress of a task.

    Attributes:
        done, total: finished and total units; a total of 0 is unknown.
        text: description of the current action.
    """

    done: int
    total: int
    text: str


def reported(
    task: Callable[[Callable[[Step], None]], Result], cancel: threading.Event
) -> Generator[Step, None, Result]:
    """Runs a task in a separate thread, and yields the steps that it reports.

    Args:
        task: receives the report function, which raises Cancelled in the task if `cancel` is set.
        cancel: set by the user.

    Raises:
        Cancelled: after the task has ended. Exceptions of the task are raised again.

    Example:
        >>> steps = reported(lambda report: report(Step(1, 1, "counted")) or "result", threading.Event())
        >>> next(steps)
        Step(done=1, total=1, text='counted')
    """
    steps: queue.SimpleQueue[Step | None] = queue.SimpleQueue()
    outcome: dict[str, Any] = {}

    def report(step: Step) -> None:
        steps.put(step)
        if cancel.is_set():
            raise Cancelled

    def run() -> None:
        try:
            outcome["result"] = task(report)
        except BaseException as e:  # raised again in the caller's thread
            outcome["error"] = e
        finally:
            steps.put(None)

    thread = threading.Thread(target=run, name="unet", daemon=True)
    thread.start()
    try:
        while (step := steps.get()) is not None:
            yield step
    finally:
        if thread.is_alive() and "error" not in outcome and "result" not in outcome:
            cancel.set()  # the caller has stopped iterating
    thread.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]
