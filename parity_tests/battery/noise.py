"""The measured rounding error of float32. The bound of a float32 comparison is a small multiple of it.

A correct implementation differs from the exact result by its own roundings, whose size depends on the network, the
weights and the image. This size is measured in three ways, none of which compares two implementations:

- the NumPy reference in float32 against itself in float64;
- PyTorch, contiguous against channels_last (other kernels, another order of summation);
- JAX, operation by operation against jitted (other fusions).

Two correct implementations differ by at most the sum of their errors, and each error is another sample of the measured
quantity. FACTOR = 4 allows each of the two twice the largest measurement. A twin that is not deterministic (random
numbers in evaluation) must not widen its own bound, so the twins' measurements are limited to CAP times that of the
reference.
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
"""Maximum difference of any forward pass in float32, whatever the noise."""


def reference_noise(pair: Pair, image: np.ndarray) -> dict[str, float]:
    """For every output, the difference between the reference in the pair's dtype and in float64; at least two units in
    the last place."""
    dtype = next(iter(pair.tensors.values())).dtype
    given = image.astype(dtype)
    own = outputs.of_reference(pair.graph, pair.tensors, given, outputs.further_inputs(pair.config, given))
    return {name: max(distance(own[name], wanted), 2 * ULP) for name, wanted in pair.references(image).items()}


def forward_floors(pair: Pair, image: np.ndarray, jitted: Mapping[str, np.ndarray] | None = None) -> dict[str, float]:
    """The noise floor of every output of a float32 forward pass in evaluation mode. `jitted`: the outputs of jitted
    JAX; if given, JAX is also run operation by operation (slow)."""
    base = reference_noise(pair, image)
    plain = torch_outputs(pair.torch, image)
    with_layout = torch_outputs(channels_last(pair.torch), image, channels_last)
    pair.torch.to(memory_format=torch.contiguous_format)
    twins = {name: distance(with_layout[name], value) for name, value in plain.items()}
    if jitted is not None:
        by_step = jax_runner(pair.jax, jit=False)(image)
        twins = {name: max(error, distance(by_step[name], jitted[name])) for name, error in twins.items()}
    return {name: max(floor, min(twins[name], CAP * floor)) for name, floor in base.items()}


def outer(image: np.ndarray) -> float:
    """OUTER, times the condition number of x − mean(x) for this image if that is above one: every implementation,
    including the reference, loses digits when it centres an image far from zero."""
    mean, spread = abs(float(image.mean())), float(image.std())
    return OUTER * max(1.0, mean / spread if spread else 1.0)  # a single value has no deviation from its mean


def forward_bounds(pair: Pair, image: np.ndarray, jitted: Mapping[str, np.ndarray] | None = None) -> dict[str, float]:
    """The bound of each output in float32; arguments as for `forward_floors`."""
    return {name: min(FACTOR * f, outer(image)) for name, f in forward_floors(pair, image, jitted).items()}


def rounding_bound(pair: Pair, image: np.ndarray) -> float:
    """The same for the logits, from the reference alone, for comparing the modes of a twin, which must not define their
    own bound."""
    return min(FACTOR * reference_noise(pair, image)["logits"], outer(image))


def rounded_inputs(tensors: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Float64 tensors with every value changed at random by at most half a float32 unit in the last place, like one
    more rounding. Any float32 run must be allowed at least the resulting change."""
    rng = np.random.default_rng(seed)
    return {name: t * (1 + ULP / 2 * rng.uniform(-1, 1, t.shape)) for name, t in double(tensors).items()}


def summation(count: int) -> float:
    """The relative error (root mean square of 16 draws) of a sequential float32 sum of this many positive values, as in
    XLA on a CPU. PyTorch and NumPy add in blocks, with smaller errors."""
    values = np.random.default_rng(2).random((16, count), np.float32)
    errors = np.cumsum(values, 1)[:, -1] / values.sum(1, dtype=np.float64) - 1
    return float(np.sqrt((errors**2).mean()))


def stored_in_float32(given: Any) -> Any:
    """Rounds a float64 tensor to float32, and its gradient in the backward pass; or a float64 network whose weights,
    before every pass, and whose layer outputs are rounded in this way. This is exact arithmetic between float32 values:
    the error of every float32 run. A sum with cancellation loses most of its digits in this way, which a change of the
    weights alone does not show."""
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
