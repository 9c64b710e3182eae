"""What float32 itself costs, measured: the bound of a comparison in float32 is a small multiple of it.

A correct implementation differs from the exact result by its own roundings, whose size depends on the network, the
weights and the image. Three ways to see that size, none of which compares one implementation with another:

- the NumPy reference in float32 against itself in float64;
- PyTorch, contiguous against channels_last (other kernels, another order of summation);
- JAX, operation by operation against jitted (other fusions).

Two correct implementations differ by at most the sum of their errors; each error is one more draw of what was measured
three times. FACTOR = 4 leaves each of the two twice the largest measured. A twin that contradicts itself (random
numbers in evaluation) must not widen its own bound: what twins measure counts up to CAP times the reference's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from . import outputs
from .measure import distance
from .pair import Pair, channels_last, double, jax_runner, torch_outputs

FACTOR = 4.0
CAP = 4.0
ULP = float(np.finfo(np.float32).eps)
OUTER = 1e-5
"""What no forward pass in float32 may differ by, whatever the noise."""


def reference_noise(pair: Pair, image: np.ndarray) -> dict[str, float]:
    """Of every output, the reference in the dtype of the pair against itself in float64; at least two units in the last
    place."""
    dtype = next(iter(pair.tensors.values())).dtype
    given = image.astype(dtype)
    own = outputs.of_reference(pair.graph, pair.tensors, given, outputs.further_inputs(pair.config, given))
    return {name: max(distance(own[name], wanted), 2 * ULP) for name, wanted in pair.references(image).items()}


def forward_floors(pair: Pair, image: np.ndarray, eager: bool) -> dict[str, float]:
    """The noise floor of every output of a float32 forward pass in evaluation mode. `eager`: also run JAX without jit
    (slow)."""
    base = reference_noise(pair, image)
    plain = torch_outputs(pair.torch, image)
    with_layout = torch_outputs(channels_last(pair.torch), image, channels_last)
    pair.torch.to(memory_format=torch.contiguous_format)
    twins = {name: distance(with_layout[name], value) for name, value in plain.items()}
    if eager:
        by_step, jitted = jax_runner(pair.jax, jit=False)(image), jax_runner(pair.jax)(image)
        twins = {name: max(error, distance(by_step[name], jitted[name])) for name, error in twins.items()}
    return {name: max(floor, min(twins[name], CAP * floor)) for name, floor in base.items()}


def outer(image: np.ndarray) -> float:
    """OUTER, times the condition number of x − mean(x) for this image where that is above one: the digits that centring
    an image far from zero loses are lost to every implementation, the reference included."""
    mean, spread = abs(float(image.mean())), float(image.std())
    return OUTER * max(1.0, mean / spread if spread else 1.0)  # of one value, nothing is left to centre


def forward_bounds(pair: Pair, image: np.ndarray, eager: bool = False) -> dict[str, float]:
    """What each output in float32 may differ by."""
    return {name: min(FACTOR * f, outer(image)) for name, f in forward_floors(pair, image, eager).items()}


def rounding_bound(pair: Pair, image: np.ndarray) -> float:
    """The same for the logits, from the reference alone: for comparing the modes of a twin, which must not set their
    own bound."""
    return min(FACTOR * reference_noise(pair, image)["logits"], outer(image))


def rounded_inputs(tensors: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Float64 tensors with every value moved at random by at most half a float32 unit in the last place: what rounding
    each of them once more would do. The change in the result is the least that any float32 run has to be allowed."""
    rng = np.random.default_rng(seed)
    return {name: t * (1 + ULP / 2 * rng.uniform(-1, 1, t.shape)) for name, t in double(tensors).items()}


def summation(count: int) -> float:
    """The relative error (root mean square of 16 draws) of float32's sum of so many positive values added one after
    the other, as XLA adds on a CPU; PyTorch and NumPy add in blocks, which loses less."""
    values = np.random.default_rng(2).random((16, count), np.float32)
    errors = np.cumsum(values, 1)[:, -1] / values.sum(1, dtype=np.float64) - 1
    return float(np.sqrt((errors**2).mean()))


def stored_in_float32(given: Any) -> Any:
    """A float64 tensor through float32, its gradient too on the way back; or a float64 network whose weights, before
    every pass, and whose layers' outputs go that way. Exact arithmetic between values that are kept in float32: what
    every float32 run loses, however it computes. A sum that cancels loses most of itself so, and moving the weights
    alone does not show it."""
    if isinstance(given, torch.Tensor):
        return given.float().double()

    def keep_weights(model: torch.nn.Module, _: Any) -> None:
        for weight in model.parameters():
            weight.data = stored_in_float32(weight.data)

    given.register_forward_pre_hook(keep_weights)
    for module in given.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _, inputs, output: stored_in_float32(output))
    return given
