"""The whole battery on a case, with failures recorded and not raised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from parity_tests.battery.cases import CASES, Case, one_of_each
from parity_tests.battery.measure import CHECKS, Measurement

_ELSEWHERE = {"modes.compile": "too slow; that each family compiles as one graph is tested in test_home_torch.py"}
_BY_FAMILY = (
    *("onnx.torch", "onnx.jax", "onnx.evaluator", "modes.jax", "modes.channels_last", "modes.bfloat16"),
    *("gradients.float32", "gradients.reference", "mapping.aliasing", "forward.smallest"),
)
"""Checks that another size or dimension of a family adds little to."""


def reason_not_to_run(case: Case, name: str, slow: bool) -> str:
    """Why a check is not run on a case, or ""; `slow` says whether slow cases and checks are wanted."""
    check = CHECKS[name]
    if case.only and name not in case.only:
        return "full width: only the checks that its memory and time allow"
    if reason := check.unless(case.config):
        return reason
    if check.runs == "once" and case.name not in ("paper", "3d-valid"):
        return "does not depend on the network; run on paper and 3d-valid"
    if check.runs == "slow-core" and not case.core:
        return "too slow for every case; run on the core ones"
    if check.runs == "slow-trains" and not case.trains:
        return "too slow for every case; run on those that train"
    if case.quick and name in _ELSEWHERE:
        return _ELSEWHERE[name]
    if case.quick and name in _BY_FAMILY and case.name not in one_of_each():
        return "too slow for every case; run on one network of each family"
    if check.runs == "trains" and case.quick and not case.trains:
        return "too slow for every case; run on one network of each family"
    wanted = {"all": True, "once": case.core, "core": case.core, "trains": case.trains}.get(check.runs, False)
    if case.quick:
        wanted = name in case.quick
    if not slow and (case.slow or not wanted):
        return "slow"
    return ""


def plan(slow: bool = False) -> list[tuple[Case, str, str]]:
    """Every case and check of the battery with the reason why it is not run ("" where it is)."""
    return [(case, name, reason_not_to_run(case, name, slow)) for case in CASES.values() for name in CHECKS]


def run_battery(case: Case | str, checks: Iterable[str] | None = None, *, slow: bool = False) -> list[Measurement]:
    """The measurements of the checks named, or of all that are due; a check that has nothing to say about the case is
    left out. What is over its bound is in the list, not raised; a check that ends in an error leaves one measurement
    that says which (`crash`)."""
    case = CASES[case] if isinstance(case, str) else case
    if checks is None:
        checks = [name for name in CHECKS if not reason_not_to_run(case, name, slow)]
    return [m for name in checks if not CHECKS[name].unless(case.config) for m in run_check(case, name)]


def run_check(case: Case | str, name: str) -> Iterator[Measurement]:
    """The measurements of one check as they are made; an error ends them with one that says which (`crash`)."""
    case = CASES[case] if isinstance(case, str) else case
    try:
        yield from CHECKS[name].measurements(case)
    except Exception as e:  # whatever it is, it is a result
        crash = f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"
        yield Measurement("", "", float("nan"), 0.0, case=case.name, check=name, crash=crash)
