"""The running statistics of batch norm, from training for evaluation."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

import unet_jax.weights
import unet_torch.weights
from unet_spec import Node
from unet_spec.ops import BatchNorm

from . import noise, pair
from .capture import nnx_modules
from .cases import Case
from .dropout import jax_draws, reference_masks, torch_draws
from .layers import without_batch_norm
from .measure import FORWARD_BOUND, Reading, check, distance, farthest


@check("statistics.network", unless=without_batch_norm)
def network(case: Case) -> Iterator[Reading]:
    """Running statistics after three training passes, and evaluation with them."""
    twins = pair.build(case.config).train()
    images = [pair.image(case) * (i + 1) + i for i in range(3)]
    expected = dict(twins.tensors)
    graphdef, state = nnx.split(twins.jax)

    for image in images:
        with torch_draws(twins.torch) as draws, torch.no_grad():
            twins.torch(pair.to_torch(image))
        full = {f"{name}.mask": mask for name, mask in reference_masks(twins.graph, draws).items()}
        with jax_draws(twins.config, draws):

            def run(state: nnx.State, x: jax.Array) -> nnx.State:
                model = nnx.merge(graphdef, state, copy=True)
                model(x, nnx.Rngs(dropout=0))
                return nnx.state(model)

            state = jax.jit(run)(state, jnp.array(image))
        values = twins.graph.activations(expected | full, image, training=True)
        for node in twins.graph:
            if isinstance(node.op, BatchNorm):
                own = {key: expected[f"{node.name}.{key}"] for key in node.op.parameters()}
                moved = node.op.updated(own, values[node.inputs[0]])
                expected |= {f"{node.name}.{key}": value for key, value in moved.items()}
    nnx.update(twins.jax, state)
    found = {
        "jax": unet_jax.weights.tensors(twins.jax),
        "torch": unet_torch.weights.tensors(twins.torch),
    }
    twins.jax.eval()
    twins.torch.eval()
    wanted, image = pair.Pair(twins.config, expected).reference(images[0]), images[0]
    logits = {"jax": pair.jax_forward(twins.jax, image), "torch": pair.torch_forward(twins.torch, image)}
    for runtime, tensors in found.items():
        worst, where = farthest(tensors, expected)
        yield Reading(runtime, "float64", worst, FORWARD_BOUND, where)
        yield Reading(runtime, "float64", distance(logits[runtime], wanted), FORWARD_BOUND, "evaluation after")


SIZES = {2: ((2, 1, 1), (1, 2, 2), (2, 8, 16), (1, 64, 64), (4, 96, 64)), 3: ((2, 1, 1, 2), (1, 16, 16, 16))}


FLAX = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
"""The Flax layer's names of its tensors."""


@check("statistics.layer", unless=without_batch_norm)
def layer(case: Case) -> Iterator[Reading]:
    """Running statistics of one layer of each kind after five steps.

    Over 2 to 24576 values a channel: n against n − 1 is half of it or nothing.
    """
    kinds = {type(n.op): n for n in reversed(case.config.graph.nodes) if isinstance(n.op, BatchNorm)}
    for dtype in ("float64", "float32"):
        twins = pair.build(case.config, dtype).train()
        for node in kinds.values():
            for shape in SIZES[case.config.spatial_dims]:
                yield from _five_steps(twins, node, shape, dtype)


def _five_steps(twins: pair.Pair, node: Node, shape: tuple[int, ...], dtype: str) -> Iterator[Reading]:
    op, rng = node.op, np.random.default_rng(2)
    assert isinstance(op, BatchNorm)
    ours, theirs = nnx_modules(twins.jax)[node.name], twins.torch.get_submodule(node.name)
    values = {key: rng.uniform(0.5, 1.5, p.shape).astype(dtype) for key, p in op.parameters().items()}
    xs = [rng.normal(pair.LARGE_MEAN, 1 + i, (*shape, op.features)).astype(dtype) for i in range(5)]
    for key, value in values.items():
        getattr(ours, FLAX[key])[...] = jnp.array(value)
        getattr(theirs, key).data.copy_(torch.from_numpy(value))
    exact, rounded = pair.double(values), dict(values)
    for x in xs:
        ours(jnp.array(x))
        theirs(pair.to_torch(x))
        exact |= op.updated(exact, x.astype(np.float64))
        rounded |= op.updated(rounded, x)
    count = f"n = {int(np.prod(shape))}"
    found = {
        "jax": {"running_mean": np.asarray(ours.mean[...]), "running_var": np.asarray(ours.var[...])},
        "torch": {"running_mean": theirs.running_mean.numpy(), "running_var": theirs.running_var.numpy()},
    }
    for key in ("running_mean", "running_var"):  # each relative to its own size, since the mean is much larger
        floor = max(distance(rounded[key], exact[key]), 2 * noise.ULP)
        bound = FORWARD_BOUND if dtype == "float64" else noise.FACTOR * floor
        for runtime, stats in found.items():
            yield Reading(runtime, dtype, distance(stats[key], exact[key]), bound, f"{key}, {count}")
