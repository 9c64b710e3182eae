"""The parity battery: every check on every network.

`CASES` are the networks, `CHECKS` the checks, `run_battery` runs checks on a case and records what it measured.
A new architecture or preset joins by one line in `cases.py`; a new check by one decorated function.
"""

from parity_tests.battery import (  # noqa: F401  each import registers its checks
    forward,
    gradients,
    losses,
    mapping,
    modes,
    onnx_graphs,
    statistics,
    training,
)
from parity_tests.battery.cases import CASES, Case
from parity_tests.battery.measure import CHECKS, Check, Measurement, Reading, require
from parity_tests.battery.pair import Pair, build
from parity_tests.battery.run import plan, reason_not_to_run, run_battery, run_check

__all__ = [
    "CASES",
    "CHECKS",
    "Case",
    "Check",
    "Measurement",
    "Pair",
    "Reading",
    "build",
    "plan",
    "reason_not_to_run",
    "require",
    "run_battery",
    "run_check",
]
