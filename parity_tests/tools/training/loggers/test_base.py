"""A logger that fails or hangs does not stop the training."""

import time

import pytest

from unet_data import membranes
from unet_tools.training.loggers import base
from unet_tools.training.loggers.base import Service

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
