"""Whether the battery catches a mutant, and with which check."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from parity_tests.battery import CASES, CHECKS, Measurement, run_battery
from parity_tests.mutants.registry import Mutant


@dataclass(frozen=True)
class Verdict:
    """What became of one mutant.

    Attributes:
        mutant: the mutant.
        caught: of each check that measured an error above its bound, the measurement farthest above it.
        crashed: measurements of the checks that ended in an error; they catch nothing.
        unfit: measurements that fail without the mutant, too; as long as there are any, nothing is proven.
    """

    mutant: Mutant
    caught: tuple[Measurement, ...]
    crashed: tuple[Measurement, ...]
    unfit: tuple[Measurement, ...]

    @property
    def killed(self) -> bool:
        return bool(self.caught) and not self.unfit

    @property
    def worst(self) -> Measurement:
        """The measurement farthest above its bound. Raises ValueError where nothing was caught."""
        return max(self.caught, key=excess)

    def __str__(self) -> str:
        if self.unfit:
            return f"{self.mutant.name}: nothing is proven, since without it there fails: {self.unfit[0]}"
        if self.caught:
            return f"{self.mutant.name}: caught by {', '.join(m.check for m in self.caught)}; worst: {self.worst}"
        crashes = f"; crashed: {self.crashed[0]}" if self.crashed else ""
        return f"{self.mutant.name} survives {', '.join(checks_of(self.mutant))} on {self.mutant.case}{crashes}"


def excess(measurement: Measurement) -> float:
    """Error over bound; infinite where the bound is 0 or the error is not a number."""
    if math.isnan(measurement.worst) or not measurement.bound:
        return math.inf
    return measurement.worst / measurement.bound


def checks_of(mutant: Mutant) -> list[str]:
    """Its checks without those that have nothing to say about its case."""
    return [name for name in mutant.checks if not CHECKS[name].unless(CASES[mutant.case].config)]


@cache
def clean(case: str, check: str) -> tuple[Measurement, ...]:
    """What fails without any mutant."""
    return tuple(m for m in run_battery(case, [check]) if not m.passed)


def judge(mutant: Mutant) -> Verdict:
    """Runs the mutant's checks without it (once for each case) and with it."""
    checks = checks_of(mutant)
    unfit = [m for check in checks for m in clean(mutant.case, check)]
    with mutant.plant.planted():
        found = run_battery(mutant.case, checks)
    over = [m for m in found if not m.passed and not m.crash]
    caught = [
        max((m for m in over if m.check == check), key=excess) for check in checks if check in {m.check for m in over}
    ]
    return Verdict(mutant, tuple(caught), tuple(m for m in found if m.crash), tuple(unfit))
