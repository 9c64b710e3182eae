"""Tests whether the battery catches a mutant, and with which check."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache

from ..battery import CASES, CHECKS, Measurement, run_check
from .registry import Mutant


@dataclass(frozen=True)
class Verdict:
    """The result for one mutant.

    Attributes:
        mutant: the mutant.
        caught: the first measurement over its bound, if any; later checks are not run.
        crashed: errors of earlier checks that crashed; a crash does not count as caught.
        unfit: failures of the same check without the mutant; if there are any, nothing is proven.
    """

    mutant: Mutant
    caught: Measurement | None
    crashed: tuple[Measurement, ...]
    unfit: tuple[Measurement, ...]

    @property
    def killed(self) -> bool:
        return self.caught is not None and not self.unfit

    def __str__(self) -> str:
        if self.unfit:
            return f"{self.mutant.name}: nothing is proven, since without it there fails: {self.unfit[0]}"
        if self.caught:
            return f"{self.mutant.name}: caught by {self.caught}"
        crashes = f"; crashed: {self.crashed[0]}" if self.crashed else ""
        return f"{self.mutant.name} survives {', '.join(checks_of(self.mutant))} on {self.mutant.case}{crashes}"


def judge(mutant: Mutant) -> Verdict:
    """Runs the mutant's checks in order until one measures an error, then runs that check without the mutant."""
    crashed = []
    with mutant.plant.planted():
        for check in checks_of(mutant):
            failure = first_failure(mutant.case, check)
            if failure and not failure.crash:
                break
            crashed += [failure] if failure else []
        else:
            return Verdict(mutant, None, tuple(crashed), ())
    return Verdict(mutant, failure, tuple(crashed), clean(mutant.case, check))


def checks_of(mutant: Mutant) -> list[str]:
    """Its checks that apply to its case."""
    return [name for name in mutant.checks if not CHECKS[name].unless(CASES[mutant.case].config)]


def first_failure(case: str, check: str) -> Measurement | None:
    """The first measurement over its bound, or the error with which the check crashed before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tests treat warnings as errors, but a mutant that only warns is not caught
        return next((m for m in run_check(case, check) if not m.passed), None)


@cache
def clean(case: str, check: str) -> tuple[Measurement, ...]:
    """Failures without any mutant."""
    return tuple(m for m in run_check(case, check) if not m.passed)
