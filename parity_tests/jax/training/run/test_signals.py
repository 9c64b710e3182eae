"""The second Ctrl-C ends the process immediately; several processes stop after the same step, and soon."""

import os
import signal
import threading

import numpy as np
import pytest

pytest.importorskip("jax", reason="jax is not installed; pip install 'unet-twins[jax]'")

import jax
from jax.experimental import multihost_utils

from unet_jax.training.run import signals
from unet_jax.training.run.signals import StopSignals


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_the_second_ctrl_c_ends_at_once(first):
    before = signal.getsignal(signal.SIGINT)
    with StopSignals() as stop:
        os.kill(os.getpid(), first)
        assert stop.signal == first
        os.kill(os.getpid(), signal.SIGTERM)  # SIGTERM does not end it, also as the second signal
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_processes_exchange_signals_often_enough_for_a_scheduler(monkeypatch):
    clock, others, exchanged, taken = [0.0], [0], [], [0]
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(signals.time, "monotonic", lambda: clock[0])

    def allgather(own):
        exchanged.append(taken[0])
        return np.stack([own, np.array([others[0], own[1] / 2], np.float32)])  # the other one is faster

    monkeypatch.setattr(multihost_utils, "process_allgather", allgather)
    stop = StopSignals()
    for seconds, steps, expected in [(0.01, 1200, [1, 501, 1001]), (1.25, 9, [1, 5, 9]), (20, 3, [1, 2, 3])]:
        exchanged.clear()
        stop.__init__()
        for taken[0] in range(1, steps + 1):
            clock[0] += seconds
            assert not stop.agreed(False)
        assert exchanged == expected
    others[0], taken[0] = int(signal.SIGTERM), 4
    assert stop.agreed(False)
    assert stop.signal == signal.SIGTERM
    taken[0] = 5
    stop.agreed(True)
    assert exchanged[-1] == 5, "log points are used, too"


def test_one_process_stops_at_its_own_signal_which_it_keeps(capfd):
    with StopSignals() as stop:
        assert not stop.agreed(True)
        signal.raise_signal(signal.SIGTERM)
        assert stop.agreed(False)
        signal.raise_signal(signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
    assert capfd.readouterr().err.count("stopping: the step at hand is finished and the state saved") == 1


def test_outside_the_main_thread_signals_are_left_as_they_are():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with StopSignals() as stop:
            seen.append((signal.getsignal(signal.SIGTERM), stop.agreed(True)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, False)]
