"""The size of an error, and the part of it that rounding can explain.

**The bound of a layer** on inputs x follows from its dtype, its fan-in and its conditioning on these inputs:

    |A(x) − B(x)| ≤ λ · sqrt(n) · (R + eps · max |A(x)|),        R = max |A(x · (1 ± eps)) − A(x)|

- eps is the spacing of 1.0 (2⁻⁵² in float64, 2⁻²³ in float32): twice the error of one rounding, because each of the
  two sides makes its own.
- n is the fan-in: how many terms are added up for one value. n rounding errors that are independent and of mean zero
  add up like sqrt(n), not n (Higham and Mary 2019, "A new approach to probabilistic rounding error analysis",
  theorem 2.4), with λ = sqrt(2 ln(2 n N / p)) so that all N values of the tensor hold with probability 1 − p. Here
  p = 10⁻⁶, which gives λ between 5 and 9.
- R is how much the output moves where every input moves by one unit in the last place, up or down at random. It is
  measured, once a layer, and is what makes the bound hold where a layer magnifies rounding (a norm of values with a
  large mean, a sum that cancels), and keeps it tight where it does not.

The bound is for a layer's own error; it assumes nothing about how errors travel from layer to layer.

**Fan-in.** Of a weight of two axes or more: elements / output channels (forward, C_in · kernel) or / input channels
(gradient of the input, C_out · kernel). Of a parameter's gradient: positions of the output (N · H · W), which it sums
over. Of a norm: the larger of positions and channels. Without any of these: input elements per output element, at
least 1. A module's own code between the modules within it adds up the fan-in of everything that it contains.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from .sides.trace import Call

CHANCE = 1e-6


def bound(response: float, largest: float, terms: int, values: int, eps: float) -> float:
    """The largest absolute error that rounding explains, by the formula above.

    Args:
        response: R. largest: max |A(x)|. terms: n, the fan-in. values: N, the size of the tensor. eps: of its dtype.
    """
    safety = math.sqrt(2 * math.log(2 * terms * max(values, 1) / CHANCE))
    return safety * math.sqrt(terms) * (response + eps * largest)


def fan_in(calls: Iterable[Call]) -> int:
    """Terms that are added up for one value of the output, over calls that make up one stretch of code."""
    return max(1, sum(_terms(call, _channels(call)) for call in calls))


def fan_out(calls: Iterable[Call]) -> int:
    """Terms that are added up for one value of the input's gradient."""
    return max(
        1, sum(_terms(call, call.inputs[0].shape[-1] if call.inputs and call.inputs[0].ndim else 1) for call in calls)
    )


def positions(calls: Iterable[Call]) -> int:
    """Terms that are added up for one value of a parameter's gradient."""
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
    """Every value one unit in the last place (of 1.0) larger or smaller, at random. Integers stay as they are."""
    if array.dtype.kind != "f":
        return array
    return (array * (1 + eps * rng.choice((-1.0, 1.0), array.shape))).astype(array.dtype)


def largest_error(values: np.ndarray, reference: np.ndarray) -> float:
    """max |values − reference|, in float64. NaN beside NaN and equal infinities are no error; arrays of different
    shapes are infinitely far apart, as is NaN from a number."""
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
    """The largest finite |value|; 0 where there is none."""
    values = np.abs(np.asarray(array, np.float64))
    return float(values.max(initial=0.0, where=np.isfinite(values)))
