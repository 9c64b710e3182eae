"""The parity battery: every check on every network.

`CASES` are the networks and `CHECKS` the checks; `run_battery` runs checks on a case and records their measurements. A
new architecture or preset needs one line in `cases.py`; a new check needs a decorated function and a row in `run.PLAN`.
"""

from . import forward, gradients, losses, mapping, modes, onnx_graphs, statistics, training  # noqa: F401
from .cases import CASES, Case
from .measure import CHECKS, Check, Measurement, Reading, require
from .pair import Pair, build
from .run import plan, reason_not_to_run, run_battery, run_check

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
