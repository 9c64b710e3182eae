"""Checks and their results: measured errors with their bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from unet_spec import NetworkConfig

from .cases import Case

FORWARD_BOUND = 1e-12
"""Float64 bound, relative to the largest magnitude of the tensor: about 4500 roundings. Measured values are below
5e-15."""
TRAJECTORY_BOUND = 1e-10
"""Float64 bound after 100 steps, since training amplifies the difference of one step."""


@dataclass(frozen=True)
class Reading:
    """One comparison.

    Attributes:
        runtime: what was compared, such as "jax" (with the reference, where nothing else is said) or "jax, torch".
        dtype: dtype of the computation.
        worst: the largest error, relative to the largest magnitude of its tensor; a count for checks of identity, whose
            bound is 0.
        bound: maximum of `worst`.
        where: the input, tensor or layer of the worst error.
    """

    runtime: str
    dtype: str
    worst: float
    bound: float
    where: str = ""


@dataclass(frozen=True)
class Measurement(Reading):
    """A reading with its case and check. `crash`: the error that ended the check, if any. A check that crashes proves
    neither equality nor difference."""

    case: str = ""
    check: str = ""
    crash: str = ""

    @property
    def passed(self) -> bool:
        return not self.crash and self.worst <= self.bound  # false for NaN

    def __str__(self) -> str:
        what = f"{self.case} {self.check} [{self.runtime}, {self.dtype}]"
        if self.crash:
            return f"{what}: {self.crash}"
        place = f" at {self.where}" if self.where else ""
        return f"{what}: {self.worst:.3g}, bound {self.bound:.3g}{place}"


@dataclass(frozen=True)
class Check:
    """A named comparison that can be run on any case.

    Attributes:
        name: "group.what".
        function: function from a case to readings. It builds new twins, so that changes to any of their parts have an
            effect.
        unless: function from a config to the reason why the check does not apply, or "".
        only: names of the cases that it is restricted to; empty: all. `run.PLAN` defines where it runs by default.
    """

    name: str
    function: Callable[[Case], Iterable[Reading]]
    unless: Callable[[NetworkConfig], str]
    only: tuple[str, ...] = ()

    def __call__(self, case: Case) -> list[Measurement]:
        """The measurements, without assertions. Errors of the networks under test are raised."""
        return list(self.measurements(case))

    def measurements(self, case: Case) -> Iterator[Measurement]:
        """The same, one by one."""
        for reading in self.function(case):
            yield Measurement(**vars(reading), case=case.name, check=self.name)


CHECKS: dict[str, Check] = {}
ONCE = ("paper", "3d-valid")
"""Cases for checks that do not depend on the network."""


def check(
    name: str, unless: Callable[[NetworkConfig], str] = lambda config: "", only: tuple[str, ...] = ()
) -> Callable[[Callable[[Case], Iterator[Reading]]], Check]:
    """Registers a function from a case to readings under `name`, which needs a row in `run.PLAN`."""

    def register(function: Callable[[Case], Iterator[Reading]]) -> Check:
        CHECKS[name] = Check(name, function, unless, only)
        return CHECKS[name]

    return register


def require(measurements: Iterable[Measurement]) -> None:
    """Raises AssertionError, which names every measurement above its bound, or if there is no measurement."""
    measurements = list(measurements)
    assert measurements, "the check measured nothing"
    failed = [str(m) for m in measurements if not m.passed]
    assert not failed, "\n".join(failed)


def distance(found: np.ndarray, wanted: np.ndarray, scale: float | None = None) -> float:
    """max |found − wanted| / max |wanted|, in float64; infinite where shapes differ or a value is not finite.

    `scale` replaces the denominator: for tensors that are zero in exact arithmetic.
    """
    if found.shape != wanted.shape:
        return float("inf")
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    error = float(np.abs(found - wanted).max(initial=0.0))
    if not np.isfinite(error):
        return float("inf")
    scale = float(np.abs(wanted).max(initial=0.0)) if scale is None else scale
    return error / scale if scale else (0.0 if error == 0 else float("inf"))


def farthest(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> tuple[float, str]:
    """The largest distance between tensors of the same name, and that name; infinite for a name on one side only."""
    apart = {name: distance(found[name], wanted[name]) for name in wanted if name in found}
    apart |= {name: float("inf") for name in set(found) ^ set(wanted)}
    name = max(apart, key=apart.__getitem__)
    return apart[name], name


def differing(found: Mapping, wanted: Mapping) -> int:
    """Number of tensors that differ in bytes, dtype or shape, or exist on one side only."""
    same = [
        name
        for name in wanted
        if name in found
        and (found[name].dtype, found[name].shape) == (wanted[name].dtype, wanted[name].shape)
        and found[name].tobytes() == wanted[name].tobytes()
    ]
    return len(set(found) | set(wanted)) - len(same)
