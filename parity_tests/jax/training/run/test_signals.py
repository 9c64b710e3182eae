"""The second Ctrl-C ends the process immediately."""

import os
import signal

import pytest

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
