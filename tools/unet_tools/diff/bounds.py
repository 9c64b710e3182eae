"""The size of an error, and the part of it that rounding can explain.

**The bound of a layer** on inputs x follows from its dtype, its fan-in and its conditioning on these inputs:

    |A(x) − B(x)| ≤ λ · sqrt(n) · (R + eps · max |A(x)|),        R = max |A(x · (1 ± eps)) − A(x)|

- eps is the spacing of 1.0 (2⁻⁵² in float64, 2⁻²³ in float32): twice the error of one rounding, because each of the two
  sides rounds.
- n is the fan-in: the number of terms in the sum for one value. The sum of n independent rounding errors with mean zero
  grows like sqrt(n), not n (Higham and Mary 2019, "A new approach to probabilistic rounding error analysis", theorem
  2.4), with λ = sqrt(2 ln(2 n N / p)) so that all N values of the tensor hold with probability 1 − p. Here p = 10⁻⁶,
  which gives λ between 5 and 9.
- R is the change of the output if every input changes by one unit in the last place, up or down at random. It is
  measured once per layer. It makes the bound hold for layers that amplify rounding (a norm of values with a large mean,
  a sum with cancellation), and keeps it tight for all others.

The bound applies to a layer's own error. It assumes nothing about the propagation of errors between layers.

**Fan-in.** For a weight with two axes or more: its elements divided by the output channels (forward, C_in · kernel) or
by the input channels (gradient of the input, C_out · kernel). For a parameter's gradient: the positions of the output
(N · H · W), over which it sums. For a norm: the maximum of positions and channels. Otherwise: input elements per output
element, at least 1. For a module's code between its submodules, the fan-ins of everything in it are added.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from .sides.trace import Call

CHANCE = 1e-6


def bound(response: float, largest: float, terms: int, values: int, eps: float) -> float:
    """The maximum absolute error that rounding explains, by the formula above.

    Args:
        response: R. largest: max |A(x)|. terms: n, the fan-in. values: N, the size of the tensor. eps: of its dtype.
    """
    safety = math.sqrt(2 * math.log(2 * terms * max(values, 1) / CHANCE))
    return safety * math.sqrt(terms) * (response + eps * largest)


def fan_in(calls: Iterable[Call]) -> int:
    """Number of terms in the sum for one value of the output, over the calls of one piece of code."""
    return max(1, sum(_terms(call, _channels(call)) for call in calls))


def fan_out(calls: Iterable[Call]) -> int:
    """Number of terms in the sum for one value of the input's gradient."""
    return max(
        1, sum(_terms(call, call.inputs[0].shape[-1] if call.inputs and call.inputs[0].ndim else 1) for call in calls)
    )


def positions(calls: Iterable[Call]) -> int:
    """Number of terms in the sum for one value of a parameter's gradient."""
    return max(1, sum(max((o.size for o in call.outputs.values()), default=1) // _channels(call) for call in calls))


def _channels(call: Call) -> int:
    return next((o.shape[-1] for o in call.outputs.values() if o.ndim and o.shape[-1]), 1)


def _terms(call: Call, channels: int) -> int:
    kernels = [math.prod(shape) for shape in call.weights.values() if len(shape) >= 2]
    if kernels:
        return -(-max(kernels) // max(channels, 1))
    size = max((x.size for x in call.inputs), default=1)
    if "norm" in call.kind.lower():
        return max(size // _channels(call), _channels(call))
    return size // max([1, *(o.size for o in call.outputs.values())])


def perturbed(array: np.ndarray, eps: float, rng: np.random.Generator) -> np.ndarray:
    """Changes every value by one unit in the last place (of 1.0), up or down at random. Integers do not change."""
    if array.dtype.kind != "f":
        return array
    return (array * (1 + eps * rng.choice((-1.0, 1.0), array.shape))).astype(array.dtype)


def largest_error(values: np.ndarray, reference: np.ndarray) -> float:
    """max |values − reference|, in float64. Two NaN and two equal infinities have no error. The error is infinite
    between NaN and a number, and between arrays of different shapes."""
    if values.shape != reference.shape:
        return math.inf
    values, reference = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    error = np.zeros(values.shape)
    equal = (values == reference) | (np.isnan(values) & np.isnan(reference))
    with np.errstate(invalid="ignore"):
        np.subtract(values, reference, out=error, where=~equal)
    worst = float(np.abs(error).max(initial=0.0))
    return math.inf if math.isnan(worst) else worst


def magnitude(array: np.ndarray) -> float:
    """The maximum finite |value|; 0 if there is none."""
    values = np.abs(np.asarray(array, np.float64))
    return float(values.max(initial=0.0, where=np.isfinite(values)))
