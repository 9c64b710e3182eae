"""Tasks that report by a function, as generators."""

import threading

import pytest

from unet_tools.napari_plugin.work import Cancelled, Step, reported

from .layer import ran


def test_steps_and_result_of_a_task():
    def task(report):
        for number in range(3):
            report(Step(number, 3, "counting"))
        return threading.current_thread().name

    steps, result = ran(reported(task, threading.Event()))
    assert [step.done for step in steps] == [0, 1, 2]
    assert result == "unet"


def test_an_error_of_the_task_reaches_the_caller():
    def task(report):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        ran(reported(task, threading.Event()))


def test_a_cancelled_task_ends_at_its_next_report():
    cancel, go_on, reached = threading.Event(), threading.Event(), []

    def task(report):
        report(Step(1, 2, "first"))
        go_on.wait(5)
        report(Step(2, 2, "second"))
        reached.append("end")

    steps = reported(task, cancel)
    assert next(steps).text == "first"
    cancel.set()
    go_on.set()
    with pytest.raises(Cancelled):
        ran(steps)
    assert reached == []


def test_a_task_whose_caller_leaves_is_cancelled():
    cancel, ended = threading.Event(), threading.Event()

    def task(report):
        try:
            while True:
                report(Step(0, 0, ""))
        finally:
            ended.set()

    steps = reported(task, cancel)
    next(steps)
    steps.close()
    assert ended.wait(5)
    assert cancel.is_set()
