"""Gradients of every parameter and of the image, tensor by tensor."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

import unet_jax.losses
import unet_jax.network
import unet_torch.losses
import unet_torch.network
from unet_data import pack_distances
from unet_spec import Graph, NetworkConfig
from unet_spec.families.probabilistic_unet import NOISE, SEGMENTATION
from unet_spec.ops import Conv, LatentInput

from . import noise, oracle, outputs, pair
from .cases import Case
from .dropout import jax_draws, reference_masks, torch_draws
from .gauge import gauge_parameters
from .layers import has
from .measure import FORWARD_BOUND, Reading, check, distance
from .slots import from_flax

IGNORED, SHARE = 250, 0.5
"""The label of ignored pixels (−1 with distances); the weight of the distance in the loss."""
Gradients = dict[str, np.ndarray]


def targets(image: np.ndarray, config: NetworkConfig) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N, *spatial) at the image's size and pixel weights. Some labels are ignored, unless labels are also an
    input of the network."""
    rng = np.random.default_rng(7)
    labels = rng.integers(0, config.classes, image.shape[:-1])
    if not has(config.graph, LatentInput):
        labels[rng.random(labels.shape) < 0.1] = ignored(config)
    if config.distance_head:
        labels = pack_distances(labels, rng.random(labels.shape, np.float32))
    return labels, rng.uniform(0.2, 2.0, labels.shape).astype(np.float32).astype(image.dtype)


def ignored(config: NetworkConfig) -> int:
    return -1 if config.distance_head else IGNORED


def unpacked(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class numbers and distances of `pack_distances`; −1 in both where a pixel does not count."""
    counted = labels >= 0
    return np.where(counted, labels & 255, -1), np.where(counted, (labels >> 8) / 255, -1.0)


def loss_of_twin(losses: Any, config: NetworkConfig) -> Callable[..., Any]:
    """The cross entropy of `unet_jax.losses` or `unet_torch.losses`, and the loss of the distance, if any."""

    def of(z: Any, y: Any, w: Any) -> Any:
        return losses.cross_entropy(z, y, w, ignored(config), smoothing=0.1)

    return losses.with_distance(of, SHARE) if config.distance_head else of


def torch_gradients(
    model: unet_torch.network.Network, image: np.ndarray, layout=lambda t: t
) -> tuple[float, Gradients, dict]:
    """The network's own loss, gradients by PyTorch name (the image's as "image", channels last), and its random
    numbers."""
    labels, weights = map(torch.from_numpy, targets(image, model.config))
    of = loss_of_twin(unet_torch.losses, model.config)
    x = layout(pair.to_torch(image)).requires_grad_(True)
    model.zero_grad()
    with torch_draws(model) as draws:
        loss = model.loss(of, x, labels, weights)
    loss.backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    zero = {name: np.zeros(tuple(p.shape)) for name, p in trained.items() if p.grad is None}
    found = {name: p.grad.numpy().copy() for name, p in trained.items() if p.grad is not None}
    return float(loss.detach()), zero | found | {"image": pair.from_torch(x.grad)}, draws


def jax_gradients(model: unet_jax.network.Network, image: np.ndarray, draws: dict) -> tuple[float, Gradients]:
    """The same from the Flax twin, with PyTorch's names and axes and the given random numbers."""
    labels, weights = (jnp.array(t) for t in targets(image, model.config))
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)
    of = loss_of_twin(unet_jax.losses, model.config)

    def loss_of(params: nnx.State, x: jax.Array, rest: nnx.State) -> jax.Array:
        own = nnx.merge(graphdef, params, rest, copy=True)
        return own.loss(of, x, labels, weights, nnx.Rngs(dropout=0))

    run = jax.jit(jax.value_and_grad(loss_of, argnums=(0, 1)))
    with jax_draws(model.config, draws):
        loss, (grads, moved) = run(params, jnp.array(image), rest)
    return float(loss), from_flax(model.config.graph, grads) | {"image": np.asarray(moved)}


def apart(found: Gradients, wanted: Gradients, gauge: set[str]) -> tuple[float, str]:
    """The largest relative error over all tensors; a gauge bias is measured against its layer's weight gradient."""
    errors = {}
    for name, gradient in wanted.items():
        if name not in found:
            errors[name] = float("inf")
        elif name in gauge:
            scale = float(np.abs(wanted[name.removesuffix("bias") + "weight"]).max())
            errors[name] = max(distance(found[name], gradient, scale), float(np.abs(found[name]).max()) / scale)
        else:
            errors[name] = distance(found[name], gradient)
    errors |= {name: float("inf") for name in set(found) - set(wanted)}
    worst = max(errors, key=errors.__getitem__)
    return errors[worst], worst


@check("gradients.float64")
def exact(case: Case) -> Iterator[Reading]:
    """Every gradient of a training step, the loss included.

    The biases without a gradient are exactly those that the graph names.
    """
    twins, image = pair.build(case.config).train(), pair.image(case)
    gauge = set(gauge_parameters(case.config.graph))
    loss, theirs, draws = torch_gradients(twins.torch, image)
    own_loss, ours = jax_gradients(twins.jax, image, draws)
    worst, where = apart(ours, theirs, gauge)
    yield Reading("jax, torch", "float64", worst, FORWARD_BOUND, where)
    yield Reading("jax, torch", "float64", abs(loss - own_loss) / abs(own_loss), FORWARD_BOUND, "loss")
    for runtime, gradients in (("torch", theirs), ("jax", ours)):
        wrong = flat_biases(twins.graph, gradients) ^ gauge
        yield Reading(runtime, "float64", len(wrong), 0, f"gauge parameters {', '.join(sorted(wrong)[:3])}")


def flat_biases(graph: Graph, gradients: Gradients) -> set[str]:
    """The biases whose gradient is rounding noise beside that of their layer's weight."""
    pairs = {n.name: [gradients.get(f"{n.name}.{key}") for key in ("bias", "weight")] for n in graph}
    return {
        f"{name}.bias"
        for name, (bias, weight) in pairs.items()
        if bias is not None and weight is not None and np.abs(bias).max() < 1e-10 * np.abs(weight).max()
    }


@check("gradients.reference")
def reference(case: Case) -> Iterator[Reading]:
    """The derivative of the loss along a random direction, from differences of the reference.

    A witness that shares nothing with either twin. Its own error is seen by halving the step.
    """
    twins, image = pair.build(case.config).train(), pair.image(case)
    loss, theirs, draws = torch_gradients(twins.torch, image)
    rng = np.random.default_rng(4)
    labels, weights = targets(image, case.config)
    names = [n for n, p in twins.graph.params.items() if p.role == "parameter"]
    way = {name: rng.normal(size=twins.tensors[name].shape) * np.abs(twins.tensors[name]).max() for name in names}
    full = {f"{name}.mask": mask for name, mask in reference_masks(twins.graph, draws).items()}
    further = {NOISE: draws[NOISE][None], SEGMENTATION: labels} if NOISE in draws else {}

    def loss_at(step: float) -> float:
        moved = twins.tensors | {name: twins.tensors[name] + step * d for name, d in way.items()}
        values = outputs.of_reference(twins.graph, moved | full, image, further, training=True)
        return oracle.network_loss(case.config, values, of, math.prod(labels.shape[1:]))

    def of(logits: np.ndarray, stride: tuple[int, ...]) -> float:
        at = (slice(None), *(slice(None, None, n) for n in stride))
        if not case.config.distance_head:
            return oracle.cross_entropy(logits, labels[at], weights[at], IGNORED, 0.1)
        classes, target = unpacked(labels)
        near = oracle.distance_loss(logits[..., -1], target, weights)
        return oracle.cross_entropy(logits[..., :-1], classes, weights, -1, 0.1) + SHARE * near

    slopes = [(loss_at(h) - loss_at(-h)) / (2 * h) for h in (2e-7, 1e-7)]
    along = sum(float((theirs[name] * d).sum()) for name, d in way.items())
    size = float(np.sqrt(sum((theirs[name] ** 2).sum() * (d**2).mean() for name, d in way.items())))
    # Rounding of the two losses, divided by the step, and the change from halving the step.
    own = abs(slopes[0] - slopes[1]) + 64 * np.finfo(np.float64).eps * abs(loss) / 1e-7
    yield Reading("torch", "float64", abs(slopes[1] - along) / size, 4 * own / size, "direction")
    yield Reading("torch", "float64", abs(loss_at(0.0) - loss) / abs(loss), FORWARD_BOUND, "loss")


def overflows(graph: Graph) -> bool:
    """Whether PyTorch's gradients in channels_last write outside of their memory on a CPU, which may end the process.

    oneDNN does so in the backward pass of a 1x1 convolution with a stride and few input channels (PyTorch 2.13: 2 and 4
    overflow, 8 and more do not).
    """
    convolutions = [node.op for node in graph if isinstance(node.op, Conv)]
    return any(max(c.kernel) == 1 and max(c.stride) > 1 and c.in_channels < 8 for c in convolutions)


@check("gradients.float32")
def single(case: Case) -> Iterator[Reading]:
    """Every gradient of each twin in float32 against float64.

    From the same weights. The noise floor: PyTorch contiguous against channels_last (unless that `overflows`), and with
    oneDNN's kernels against its own, which add in another order; what moving each weight and pixel by half a unit in
    the last place does to the exact gradient; and what keeping each layer's output, and its gradient, in float32 does
    to it.
    """
    twins, image = pair.build(case.config, "float32").train(), pair.image(case, dtype="float32")
    gauge = set(gauge_parameters(case.config.graph))
    weights, exact_image = pair.double(twins.tensors), image.astype(np.float64)
    _, wanted, draws = torch_gradients(pair.torch_twin(case.config, weights).train(), exact_image)
    moved = noise.rounded_inputs(twins.tensors | {"image": image}, 1)
    moved_image = moved.pop("image")
    _, near, _ = torch_gradients(pair.torch_twin(case.config, moved).train(), moved_image)
    storing = noise.stored_in_float32(pair.torch_twin(case.config, weights).train())
    _, kept, _ = torch_gradients(storing, exact_image)
    found = {"torch": torch_gradients(twins.torch, image)[1], "jax": jax_gradients(twins.jax, image, draws)[1]}
    with warnings.catch_warnings():  # PyTorch's setter warns of Intel GPUs
        warnings.simplefilter("ignore")
        with torch.backends.mkldnn.flags(enabled=False):
            _, plain, _ = torch_gradients(twins.torch, image)
    others = [plain]
    if not overflows(case.config.graph):
        pair.channels_last(twins.torch)
        others.append(torch_gradients(twins.torch, image, pair.channels_last)[1])
    base = max(apart(near, wanted, gauge)[0], apart(kept, wanted, gauge)[0], 2 * noise.ULP)
    twin = max(apart(each, found["torch"], gauge)[0] for each in others)
    floor = max(base, min(twin, noise.CAP * base))
    for runtime, gradients in found.items():
        worst, where = apart(gradients, wanted, gauge)
        yield Reading(runtime, "float32", worst, noise.FACTOR * floor, where)
