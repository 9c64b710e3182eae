"""The running statistics of batch norm: what training leaves behind for evaluation."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

import unet_jax.blocks
import unet_torch.blocks
from parity_tests.battery import noise, pair
from parity_tests.battery.cases import Case
from parity_tests.battery.dropout import dropout_nodes, flax_masks, torch_masks
from parity_tests.battery.measure import FORWARD_BOUND, Reading, check, distance, farthest
from unet_spec import UNetConfig
from unet_spec.ops import BatchNorm


def without_batch_norm(config: UNetConfig) -> str:
    return "" if config.norm == "batch" else "no running statistics"


@check("statistics.network", unless=without_batch_norm)
def network(case: Case) -> Iterator[Reading]:
    """Three training passes over different images; after them, evaluation with the statistics that they left."""
    twins = pair.build(case.config).train()
    images = [pair.image(case) * (i + 1) + i for i in range(3)]
    expected = dict(twins.tensors)
    graphdef, state = nnx.split(twins.jax)

    for image in images:
        with torch_masks(twins.torch) as masks, torch.no_grad():
            twins.torch(pair.to_torch(image))
        full = {f"{name}.mask": masks.get(name, np.ones(1)) for name in dropout_nodes(twins.graph)}
        with flax_masks(twins.graph, masks):

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
        "jax": pair.unet_jax.weights.tensors(twins.jax),
        "torch": pair.unet_torch.weights.tensors(twins.torch),
    }
    twins.jax.eval()
    twins.torch.eval()
    after = pair.Pair(twins.config, expected, twins.jax, twins.torch)
    wanted, image = after.reference(images[0]), images[0]
    logits = {"jax": pair.jax_forward(twins.jax, image), "torch": pair.torch_forward(twins.torch, image)}
    for runtime, tensors in found.items():
        worst, where = farthest(tensors, expected)
        yield Reading(runtime, "float64", worst, FORWARD_BOUND, where)
        yield Reading(runtime, "float64", distance(logits[runtime], wanted), FORWARD_BOUND, "evaluation after")


SIZES = {2: ((2, 1, 1), (1, 2, 2), (2, 8, 16), (1, 64, 64), (4, 96, 64)), 3: ((2, 1, 1, 2), (1, 16, 16, 16))}


@check("statistics.layer", unless=without_batch_norm)
def layer(case: Case) -> Iterator[Reading]:
    """The layer by itself, five steps, over 2 to 24576 values a channel: n against n − 1 is half of it or nothing."""
    config, features = case.config, 3
    op = BatchNorm(features, config.norm_eps, config.norm_momentum)
    for shape in SIZES[config.spatial_dims]:
        for dtype in ("float64", "float32"):
            rng = np.random.default_rng(2)
            values = {key: rng.uniform(0.5, 1.5, p.shape).astype(dtype) for key, p in op.parameters().items()}
            xs = [rng.normal(2.0, 1 + i, (*shape, features)).astype(dtype) for i in range(5)]
            ours = unet_jax.blocks.norm(config, features, nnx.Rngs(0), jnp.dtype(dtype))
            theirs = unet_torch.blocks.norm(config, features).to(getattr(torch, dtype))
            for flax, key in (("scale", "weight"), ("bias", "bias"), ("mean", "running_mean"), ("var", "running_var")):
                getattr(ours, flax)[...] = jnp.array(values[key])
                getattr(theirs, key).data.copy_(torch.from_numpy(values[key]))
            exact, rounded = pair.double(values), dict(values)
            for x in xs:
                ours(jnp.array(x))
                theirs(pair.to_torch(x))
                exact |= op.updated(exact, x.astype(np.float64))
                rounded |= op.updated(rounded, x)
            kept = ("running_mean", "running_var")
            wanted = np.stack([exact[k] for k in kept])
            floor = max(distance(np.stack([rounded[k] for k in kept]), wanted), 2 * noise.ULP)
            bound = FORWARD_BOUND if dtype == "float64" else noise.FACTOR * floor
            count = f"n = {int(np.prod(shape))}"
            found = {
                "jax": np.stack([np.asarray(ours.mean[...]), np.asarray(ours.var[...])]),
                "torch": np.stack([theirs.running_mean.numpy(), theirs.running_var.numpy()]),
            }
            for runtime, stats in found.items():
                yield Reading(runtime, dtype, distance(stats, wanted), bound, count)
