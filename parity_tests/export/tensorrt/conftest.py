"""The simulated GPU."""

import pytest


@pytest.fixture
def gpu():
    from .simulated_gpu import Simulator

    return Simulator()
