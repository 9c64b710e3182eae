"""Chooses the fastest runtime with the same logits as the reference, for the work of one command.

The reference is the default runtime of `unet predict`. A candidate runs in a separate process, on a tile of the first
image: its logits must be within `FLOAT32_BOUND` of the reference's. The runtime that finishes first is chosen,
including the time to import, load and compile. Nothing is measured if the work takes less time than the measurements.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unet_data.inference.network import OpenNetwork
from unet_export.reference import FLOAT32_BOUND, Distance
from unet_export.runtimes.batch import usable_cores
from unet_spec import Geometry, InputError
from unet_spec.files import first_line
from unet_spec.tiling.tiles import minimum_tile

from ...arguments.runtimes import RuntimeName, installed, is_checkpoint
from . import cache
from .cache import Measured, Measurements
from .trial import TooSlowError, Trial, measure

EXPECTED = 4e10
"""Assumed multiply-adds per second and core, to estimate work before anything is measured."""
WORTH = 20.0
"""Minimum work, in seconds, for which candidates are measured: measuring all of them takes about as long."""
READY = 0.25
"""Part of the work's time within which a candidate must be ready. It limits the time of all measurements to that of the
work, and excludes runtimes that compile for longer than they save."""
GAIN = 1.1
"""Minimum speed-up over the reference for choosing another runtime; less is within the noise of a measurement of one
second."""
TILE_SECONDS = 0.25
"""Maximum time of the measured tile in seconds, estimated by `EXPECTED`; larger tiles of the plan are reduced."""
LONGEST = 600.0
"""Seconds within which the reference must be ready."""
How = Literal["measured now", "measured earlier", "little work", "only one", "begun"]
Measure = Callable[[Path, str, np.ndarray, float], Trial]


@dataclass(frozen=True)
class Choice:
    """The runtime of a command.

    Attributes:
        name: the runtime.
        reference: the runtime that the others were compared with.
        how: reason for the choice.
        measured: times and errors of the runtimes that ran.
        passed_over: other runtimes with the reasons why they cannot be chosen.
    """

    name: RuntimeName
    reference: RuntimeName
    how: How
    measured: dict[str, Measured] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)

    def describe(self) -> str:
        """The choice in one line."""
        return f"runtime: {self.name}{self._why()}; --runtime NAME chooses another)"

    def _why(self) -> str:
        if self.how == "begun":
            return " (an unfinished result was begun with it"
        if self.how == "little work":
            return " (the default; too little work to measure others"
        if self.how == "only one":
            return " (the only exact one that runs here"
        if self.name != self.reference:
            times = self.measured[self.name].rate / self.measured[self.reference].rate
            return f", {times:.1f} times as fast as {self.reference} ({self.how}"
        return f", which finishes first of {', '.join(self.measured)} ({self.how}"

    def remark(self) -> str:
        """One line about the runtimes that cannot be chosen; "" if there are none, or if it was printed earlier."""
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self.passed_over.items())
        return f"runtimes passed over: {reasons}" if reasons and self.how in ("measured now", "only one") else ""

    def to_dict(self) -> dict[str, Any]:
        """The entry for --json."""
        return asdict(self)


@dataclass(frozen=True)
class Work:
    """The work of a command.

    Attributes:
        tile: pixels per axis of the plan's tiles.
        macs: multiply-adds of all work.
        window: an input (1, *spatial, C) float32 of a size on the grid, from the first image.
        samples: whether the network receives noise.
    """

    tile: tuple[int, ...]
    macs: float
    window: Callable[[tuple[int, ...]], np.ndarray]
    samples: bool = False


def choose(path: Path, reference: OpenNetwork, work: Work, measure: Measure = measure) -> Choice:
    """Chooses the runtime that finishes first.

    Args:
        path: the checkpoint or bundle.
        reference: the network, opened in the reference runtime.
        work: the work of the command.
        measure: see `trial.measure`.

    Raises:
        InputError: the reference does not run.
    """
    first: Any = reference.name
    names, passed_over = candidates(reference, is_checkpoint(path), work.samples)
    if not names:
        return Choice(first, first, "only one", {}, passed_over)
    cores = usable_cores()
    size = measured_size(reference.config.geometry, work.tile, TILE_SECONDS * EXPECTED * cores)
    key = cache.key_of(reference.identity, (1, *size, reference.config.in_channels), first)
    kept = cache.load(key)
    if kept is None and work.macs < WORTH * EXPECTED * cores:
        return Choice(first, first, "little work")
    found = kept or Measurements()
    each = sum(reference.config.graph.macs(size).values())
    now = _measure_missing(path, first, names, work, size, each, found, measure)
    if now:
        with contextlib.suppress(InputError):  # without the cache, the next command measures again
            cache.save(key, found)
    exact: dict[str, Measured] = {}
    for name in (first, *names):
        if name in found.failed:
            passed_over[name] = found.failed[name]
        elif name in found.slow:
            passed_over[name] = f"not ready after {found.slow[name]:.0f} s, too late for this work"
        elif name in found.done and found.done[name].error > FLOAT32_BOUND:
            passed_over[name] = f"differs by {found.done[name].error:.1e} of the largest logit, above {FLOAT32_BOUND:g}"
        elif name in found.done:
            exact[name] = found.done[name]
    if len(found.done) == 1 and not found.slow and not found.failed:  # the reference was fast enough
        return Choice(first, first, "little work", exact)
    if len(exact) == 1:
        return Choice(first, first, "only one", exact, passed_over)
    how: How = "measured now" if now else "measured earlier"
    return Choice(first_to_finish(exact, first, work.macs), first, how, exact, passed_over)


def candidates(reference: OpenNetwork, checkpoint: bool, samples: bool) -> tuple[list[RuntimeName], dict[str, str]]:
    """Names of the other runtimes that may run a network here, and the reasons why others cannot.

    Args:
        reference: the network.
        checkpoint: whether it is a checkpoint, not a bundle.
        samples: whether the network receives noise.
    """
    # "mnn-fast" is excluded, since its errors are larger.
    known: tuple[RuntimeName, ...] = ("onnx", "openvino", "mnn", "torch", "jax")
    known = known if checkpoint else ("onnx", "openvino", "mnn", "tensorrt")
    names: list[RuntimeName] = []
    passed_over: dict[str, str] = {}
    for name in known:
        if name == reference.name:
            continue
        if name != "tensorrt" and not installed(name):
            passed_over[name] = f"not installed (pip install 'unet-twins[{name}]')"
        elif name == "mnn" and reference.config.spatial_dims != 2:
            passed_over[name] = "2-D networks only"
        elif name in ("mnn", "openvino", "tensorrt") and samples:
            passed_over[name] = "has no noise input for --samples"
        else:
            names.append(name)
    return names, passed_over


def first_to_finish(exact: dict[str, Measured], reference: Any, macs: float) -> Any:
    """The runtime that finishes the work first. Other runtimes than the reference must also be prepared, and must be
    `GAIN` times as fast."""

    def seconds(name: str) -> float:
        return macs / exact[name].rate + (0 if name == reference else exact[name].prepare)

    best = min(exact, key=seconds)
    return best if seconds(reference) >= GAIN * seconds(best) else reference


def measured_size(geometry: Geometry, tile: tuple[int, ...], macs: float) -> tuple[int, ...]:
    """The size of the measured input: the plan's tile, or the largest tile of its shape with at most `macs`
    multiply-adds; at least the smallest tile."""
    size = tile
    while sum(geometry.graph.macs(size).values()) > macs:
        smaller = tuple(
            min(n, max(geometry.grid(a).below(n * 7 // 8) or 0, minimum_tile(geometry, a))) for a, n in enumerate(size)
        )
        if smaller == size:
            break
        size = smaller
    return size


def _measure_missing(
    path: Path,
    reference: str,
    names: Sequence[str],
    work: Work,
    size: tuple[int, ...],
    macs: int,
    found: Measurements,
    measure: Measure,
) -> bool:
    """Measures runtimes that are not measured yet and may be faster, and adds them to `found`. Returns whether anything
    was measured.

    A candidate must be ready within the part `READY` of the time of the fastest runtime so far. A candidate that was
    too slow is measured again for twice as much work.
    """
    x: np.ndarray | None = None
    logits: np.ndarray | None = None
    now = False

    def trial(name: str, limit: float) -> Trial:
        nonlocal x, now
        x = work.window(size) if x is None else x
        now = True
        return measure(path, name, x, limit)

    if reference not in found.done:
        first = trial(reference, LONGEST)
        logits, found.done[reference] = first.logits, Measured(first.prepare, macs / first.seconds, 0.0)
    if work.macs / found.done[reference].rate < WORTH:
        return now
    for name in names:
        fastest = max(each.rate for each in found.done.values() if each.error <= FLOAT32_BOUND)
        limit = min(READY * work.macs / fastest, LONGEST)
        if name in found.done or name in found.failed or limit < 2 * found.slow.get(name, 0.0):
            continue
        if logits is None:
            logits = trial(reference, LONGEST).logits
        try:
            tried = trial(name, limit)
        except TooSlowError:
            found.slow[name] = limit
            continue
        except InputError as e:
            found.failed[name] = first_line(e, 160)
            continue
        error = (
            Distance.between(tried.logits, logits).worst_relative if tried.logits.shape == logits.shape else math.inf
        )
        found.slow.pop(name, None)
        if math.isfinite(error):
            found.done[name] = Measured(tried.prepare, macs / tried.seconds, error)
        else:
            found.failed[name] = "its logits are not finite, or of another shape"
    return now
