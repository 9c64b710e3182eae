"""The battery, one test for each case and check."""

import pytest

from ..parity_md import record
from . import CHECKS, plan, require
from .run import everyday

_QUICK = {(case.name, name) for case, name, reason in plan() if not reason}
_SLOW = {(case.name, name) for case, name, reason in plan(slow=True) if not reason} - _QUICK


def _tests():
    for case, name, reason in plan(slow=True):
        if not reason:
            marks = [] if (case.name, name) in _QUICK else [pytest.mark.slow]
            if not marks and not everyday(case, name):
                marks = [pytest.mark.parity]
            yield pytest.param(case, name, id=f"{case.name}-{name}", marks=marks)


@pytest.mark.parametrize(("case", "name"), list(_tests()))
def test_check(case, name):
    measurements = CHECKS[name](case)
    record(measurements)
    require(measurements)
