"""What a check is and what it hands back: measured errors beside the bounds that they must keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from unet_spec import NetworkConfig

from .cases import Case

FORWARD_BOUND = 1e-12
"""Float64: relative to the largest magnitude of the tensor. Some 4500 roundings; measured values are below 5e-15."""
TRAJECTORY_BOUND = 1e-10
"""Float64 after 100 steps: training amplifies what one step differs by."""


@dataclass(frozen=True)
class Reading:
    """One comparison.

    Attributes:
        runtime: what was compared, such as "jax" (with the reference, where nothing else is said) or "jax, torch".
        dtype: of the computation.
        worst: the largest error, relative to the largest magnitude of the tensor it was found in; a count for checks
            of identity, whose bound is 0.
        bound: what `worst` must not exceed.
        where: the input, tensor or layer of the worst error.
    """

    runtime: str
    dtype: str
    worst: float
    bound: float
    where: str = ""


@dataclass(frozen=True)
class Measurement(Reading):
    """A reading with the case and the check that it comes from. `crash` says which error ended the check, if one did:
    a check that crashes has proven nothing, neither sameness nor difference."""

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
        function: case to readings. Builds its twins anew, so that a change to any of their parts is seen.
        unless: config to the reason why the check has nothing to say about it, or "".
        only: names of the only cases that it runs on; empty: all. Where it runs by default is in `run.PLAN`.
    """

    name: str
    function: Callable[[Case], Iterable[Reading]]
    unless: Callable[[NetworkConfig], str]
    only: tuple[str, ...] = ()

    def __call__(self, case: Case) -> list[Measurement]:
        """The measurements; nothing is asserted. Errors of the networks under test are raised."""
        return list(self.measurements(case))

    def measurements(self, case: Case) -> Iterator[Measurement]:
        """The same, one by one."""
        for reading in self.function(case):
            yield Measurement(**vars(reading), case=case.name, check=self.name)


CHECKS: dict[str, Check] = {}
ONCE = ("paper", "3d-valid")
"""Cases of a check in which nothing depends on the network."""


def check(
    name: str, unless: Callable[[NetworkConfig], str] = lambda config: "", only: tuple[str, ...] = ()
) -> Callable[[Callable[[Case], Iterator[Reading]]], Check]:
    """Registers a function from a case to readings under `name`, which needs a row in `run.PLAN`."""

    def register(function: Callable[[Case], Iterator[Reading]]) -> Check:
        CHECKS[name] = Check(name, function, unless, only)
        return CHECKS[name]

    return register


def require(measurements: Iterable[Measurement]) -> None:
    """Raises AssertionError naming every measurement above its bound, and where there is none at all."""
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
    """The largest distance between tensors of one name, and that name; a name on one side only is infinitely far."""
    apart = {name: distance(found[name], wanted[name]) for name in wanted if name in found}
    apart |= {name: float("inf") for name in set(found) ^ set(wanted)}
    name = max(apart, key=apart.__getitem__)
    return apart[name], name


def differing(found: Mapping, wanted: Mapping) -> int:
    """Tensors that are not the same bytes, dtype and shape; those on one side only count."""
    same = [
        name
        for name in wanted
        if name in found
        and (found[name].dtype, found[name].shape) == (wanted[name].dtype, wanted[name].shape)
        and found[name].tobytes() == wanted[name].tobytes()
    ]
    return len(set(found) | set(wanted)) - len(same)
