"""The plan of the battery (which checks run on which case), and runs of a case that record failures instead of raising
them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .cases import CASES, Case
from .measure import CHECKS, Measurement

TIERS = ("core", "trained", "narrow", "family", "variant", "full", "converted")
PLAN: dict[str, str] = {
    # One column per tier of `Case.tier`, in the order of TIERS: + by default (or with `-m parity`, see `everyday`), s
    # only with `-m slow`, - never.
    "mapping.bijection":    "+++++s+",
    "mapping.round_trip":   "+++ss-s",
    "mapping.checkpoint":   "++s+sss",
    "mapping.aliasing":     "+++s--s",
    "forward.eval":         "++++sss",
    "forward.smallest":     "+++s--s",
    "forward.layers":       "+++ss-s",
    "forward.train":        "+++ss-s",
    "forward.dropout":      "++sss-s",
    "gradients.float64":    "++++s-s",
    "gradients.reference":  "+++s--s",
    "gradients.float32":    "++ss--s",
    "statistics.network":   "++sss-s",
    "statistics.layer":     "++sss-s",
    "losses.cross_entropy": "+-s----",
    "losses.others":        "+-s----",
    "losses.edges":         "+-s----",
    "training.sgd":         "s+ss---",
    "training.adamw":       "s+ss---",
    "training.schedule":    "-s-s---",
    "training.plain":       "-s-s---",
    "training.float32":     "-s-s---",
    "training.clip":        "+-s----",
    "onnx.ours":            "+++++s+",
    "onnx.evaluator":       "++ss--s",
    "onnx.lowered":         "+++ss-s",
    "onnx.torch":           "ssss--s",
    "onnx.jax":             "ssss--s",
    "modes.jax":            "++ss--s",
    "modes.channels_last":  "++ss--s",
    "modes.bfloat16":       "++ss--s",
    "modes.compile":        "ss-----",
}  # fmt: skip
EVERYDAY = ("mapping.bijection", "forward.eval", "onnx.ours")
"""What the default tests check of every network: names, outputs, the ONNX file."""
_NEVER = {
    "core": "training takes long; run on the networks that train by default",
    "trained": "",
    "narrow": "too slow for every network; run on the core ones or on those that train",
    "family": "too slow for every network; run on the U-Nets only",
    "variant": "too slow for every network; run on one of its architecture",
    "full": "full width: only the checks that its memory and time allow",
    "converted": "too slow for every network; training is compared on the other architectures",
}
"""The reason why a check never runs on a tier."""


def reason_not_to_run(case: Case, name: str, slow: bool) -> str:
    """The reason why a check is not run on a case, or "". `slow`: whether to include checks that need `-m slow`."""
    check, runs = CHECKS[name], PLAN[name][TIERS.index(case.tier)]
    if case.tier == "full" and runs == "-":
        return _NEVER["full"]
    if reason := check.unless(case.config):
        return reason
    if check.only and case.name not in check.only:
        return f"does not depend on the network, or takes long; run on {' and '.join(check.only)}"
    if runs == "-":
        return _NEVER[case.tier]
    return "slow" if runs == "s" and not slow else ""


def everyday(case: Case, name: str) -> bool:
    """Whether a check that is not slow is one of the default tests; `pytest -m parity` runs the others, as CI does.

    Everything runs by default on the core networks and on the first one of each architecture, but for training; other
    networks differ from these in one setting, which their outputs show."""
    return name in EVERYDAY or not (case.tier == "narrow" or name.startswith("training."))


def plan(slow: bool = False) -> list[tuple[Case, str, str]]:
    """Every case and check of the battery with the reason why it is not run ("" if it is run)."""
    return [(case, name, reason_not_to_run(case, name, slow)) for case in CASES.values() for name in CHECKS]


def run_battery(case: Case | str, checks: Iterable[str] | None = None, *, slow: bool = False) -> list[Measurement]:
    """The measurements of the named checks, or of all planned ones. Checks that do not apply are left out. Measurements
    over their bound are returned, not raised; a check that fails with an error returns one measurement with that error
    (`crash`)."""
    case = CASES[case] if isinstance(case, str) else case
    if checks is None:
        checks = [name for name in CHECKS if not reason_not_to_run(case, name, slow)]
    return [m for name in checks if not CHECKS[name].unless(case.config) for m in run_check(case, name)]


def run_check(case: Case | str, name: str) -> Iterator[Measurement]:
    """Yields the measurements of one check; after an error, the last one has that error (`crash`)."""
    case = CASES[case] if isinstance(case, str) else case
    try:
        yield from CHECKS[name].measurements(case)
    except Exception as e:  # any error is a result
        crash = f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"
        yield Measurement("", "", float("nan"), 0.0, case=case.name, check=name, crash=crash)
