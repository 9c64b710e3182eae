"""A logger that fails or hangs does not stop the training."""

import time

import pytest

from unet_data import membranes
from unet_tools.training.loggers import base
from unet_tools.training.loggers.base import Logger, Service

LIMIT = base.LONGEST_WAIT  # before a fixture makes it longer

pytestmark = pytest.mark.usefixtures("drawn")


class Sleeping(Service):
    title, place = "Sleeping", "nowhere"

    def start(self):
        pass

    def send(self, step, numbers, overlay):
        if numbers.get("loss") == 0:
            raise ConnectionError("refused\nby the server")
        time.sleep(self.about["seconds"])

    finish = start


def test_a_service_that_fails_is_one_warning_and_gets_nothing_more(tmp_path, capsys):
    with Sleeping(tmp_path, membranes(1, 32, 0), {"seconds": 0}) as logger:
        logger.report({"step": 1, "loss": 0.0})
        logger._thread.join(10)
        logger.report({"step": 2, "loss": 0.0})
        assert logger._records.empty()
    line = "warning: cannot write nowhere: refused by the server; continuing without Sleeping\n"
    assert capsys.readouterr().err == line


def test_a_service_that_hangs_delays_neither_the_steps_nor_the_end(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(base, "LONGEST_WAIT", 0.1)
    monkeypatch.setattr(base, "WAITING", 1000)
    begun = time.monotonic()
    with Sleeping(tmp_path, membranes(1, 32, 0), {"seconds": 30}) as logger:
        for step in range(50):
            logger.report({"step": step, "loss": 1.0})
    assert time.monotonic() - begun < 10
    assert "the last records were not accepted within 0.1 s; continuing without Sleeping" in capsys.readouterr().err


def test_a_full_queue_is_a_failure(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(base, "WAITING", 3)
    monkeypatch.setattr(base, "LONGEST_WAIT", 0.1)
    with Sleeping(tmp_path, membranes(1, 32, 0), {"seconds": 30}) as logger:
        for step in range(10):
            logger.report({"step": step, "loss": 1.0})
    assert "3 records wait to be sent; continuing without Sleeping" in capsys.readouterr().err


class Noted(Logger):
    title, place = "Noted", "here"

    def __init__(self, *given, error=None):
        super().__init__(*given)
        self.got, self.error = [], error

    def write(self, step, numbers, overlay):
        if self.error:
            raise self.error
        self.got.append((step, dict(numbers), overlay))

    def close(self):
        self.got.append("closed")


def test_numbers_are_logged_and_a_validation_has_an_overlay(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(base.Overlay, "draw", lambda self: made.append(1) or "picture")
    with Noted(tmp_path, membranes(1, 32, 0), {"a": 1}, True) as logger:
        for record in (
            {"step": 0, "compiling": "a step"},
            {"step": 0, "compiled": 3.0, "kept": True},
            {"step": 1, "loss": 0.5, "note": "text"},
            {"step": 2, "iou": 0.5, "count": 3},
        ):
            logger.report(record)
    assert logger.got == [(1, {"loss": 0.5}, None), (2, {"iou": 0.5, "count": 3}, "picture"), "closed"]
    assert (made, logger.about, logger.resume, logger.out) == ([1], {"a": 1}, True, tmp_path)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(28, "No space left"), "No space left"),
        (ValueError("a\n  b"), "a b"),
        (ValueError("x" * 201), "x" * 200),
    ],
)
def test_an_error_is_one_short_warning_and_nothing_is_written_or_closed_after_it(error, why, tmp_path, capsys):
    logger = Noted(tmp_path, membranes(1, 32, 0), error=error)
    with logger:
        logger.report({"step": 1, "loss": 0.5})
        logger.error = None
        logger.report({"step": 2, "loss": 0.5})
    assert logger.got == []
    assert capsys.readouterr().err == f"warning: cannot write here: {why}; continuing without Noted\n"


def test_a_service_that_got_nothing_is_never_opened(tmp_path):
    with Sleeping(tmp_path, membranes(1, 32, 0), {"seconds": 30}) as logger:
        assert logger._thread is None
    assert not logger.failed


def test_the_end_waits_for_what_is_still_to_be_sent(tmp_path):
    assert (LIMIT, base.WAITING) == (20.0, 1000)
    sent = []

    class Slow(Sleeping):
        def send(self, step, numbers, overlay):
            time.sleep(0.02)
            sent.append(step)

        def finish(self):
            sent.append("finished")

    with Slow(tmp_path, membranes(1, 32, 0)) as logger:
        for step in range(3):
            logger.report({"step": step, "loss": 1.0})
    assert sent == [0, 1, 2, "finished"]
    assert logger._thread.daemon
    assert logger._thread.name == "Sleeping"
