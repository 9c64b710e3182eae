"""Findings report whether both bounds hold."""

import pytest

from unet_export.reference import Comparison, Distance
from unet_tools.checking.findings import BOUNDS, Finding


def compared(worst, agreement=1.0):
    return Comparison(Distance(2 * worst, 0.5, 2.0, worst), agreement)


@pytest.mark.parametrize(
    ("worst", "agreement", "ok"), [(1e-6, 1.0, True), (1e-3, 1.0, False), (1e-6, 0.9, False), (float("nan"), 1, False)]
)
def test_both_bounds_must_hold(worst, agreement, ok):
    finding = Finding.of("jax", "float32", compared(worst, agreement), BOUNDS["float32"], 0.99)
    assert finding.ok is ok


def test_errors_are_relative_to_the_largest_logit_of_the_reference():
    finding = Finding.of("jax", "float32", compared(0.1))
    assert finding.ok is True  # without a bound
    assert finding.rms_relative == 0.25
    assert Finding("jax", "float32", note="not installed").ok is None
