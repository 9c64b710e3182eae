"""One forward pass: the twins against the reference, as a whole and layer by layer, in evaluation and in training."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from parity_tests.battery import noise, pair
from parity_tests.battery.capture import nnx_calls, torch_calls
from parity_tests.battery.cases import Case
from parity_tests.battery.dropout import dropout_nodes, flax_masks, torch_masks
from parity_tests.battery.measure import FORWARD_BOUND, Reading, check, distance, farthest
from unet_spec import UNetConfig


@check("forward.eval", runs="all")
def evaluation(case: Case) -> Iterator[Reading]:
    """Non-square, odd batch; a large mean; the least size that fits. In float64, then in float32."""
    for dtype in ("float64", "float32"):
        kinds = ("oblong", "offset", "smallest") if dtype == "float64" or case.core else ("oblong", "offset")
        if case.only:  # full width: one image, as small as it may be
            kinds = ("oblong",) if case.extra else ("smallest",)
        twins = pair.build(case.config, dtype)
        for kind in kinds:
            image = pair.image(case, kind, dtype, 1 if case.only else 3)
            wanted = twins.reference(image)
            found = {"jax": pair.jax_forward(twins.jax, image), "torch": pair.torch_forward(twins.torch, image)}
            bound = (
                FORWARD_BOUND
                if dtype == "float64"
                else noise.forward_bound(twins, image, eager=case.core and kind != "smallest")
            )
            for runtime, logits in found.items():
                yield Reading(runtime, dtype, distance(logits, wanted), bound, kind)
                yield Reading(runtime, dtype, int(logits.dtype != dtype), 0, f"dtype of the output, {logits.dtype}")
            yield Reading("jax, torch", dtype, distance(found["jax"], found["torch"]), bound, kind)


@check("forward.layers", runs="all")
def layers(case: Case) -> Iterator[Reading]:
    """The output of every layer that is a module, under the name of its node."""
    twins = pair.build(case.config)
    image = pair.image(case)
    wanted = twins.graph.activations(twins.tensors, image)
    graphdef, state = nnx.split(twins.jax)

    def traced(state: nnx.State, x: jax.Array) -> dict[str, jax.Array]:
        model = nnx.merge(graphdef, state)
        with nnx_calls(model) as calls:
            model(x)
        return {path: call.output for path, call in calls.items()}

    with torch_calls(twins.torch) as calls, torch.no_grad():
        twins.torch(pair.to_torch(image))
    found = {
        "jax": {k: np.asarray(v) for k, v in jax.jit(traced)(state, jnp.array(image)).items()},
        "torch": {k: pair.from_torch(call.output) for k, call in calls.items()},
    }
    without_module = {"input", "concat", "crop", "pad"}
    nodes = {n.name: wanted[n.name] for n in twins.graph if n.op.kind not in without_module}
    for runtime, outputs in found.items():
        worst, where = farthest({name: outputs[name] for name in nodes if name in outputs}, nodes)
        yield Reading(runtime, "float64", worst, FORWARD_BOUND, where)


def _same_in_both_modes(config: UNetConfig) -> str:
    return "" if config.norm == "batch" or config.dropout else "no layer that knows training from evaluation"


def masked_training_pass(twins: pair.Pair, image: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Logits of both twins in training mode under the masks that PyTorch drew, and these masks."""
    twins.train()
    with torch_masks(twins.torch) as masks, torch.no_grad():
        theirs = pair.from_torch(twins.torch(pair.to_torch(image)))
    graphdef, state = nnx.split(twins.jax)
    with flax_masks(twins.graph, masks):
        run = jax.jit(lambda s, x: nnx.merge(graphdef, s, copy=True)(x, nnx.Rngs(dropout=0)))
        ours = np.asarray(run(state, jnp.array(image)))
    return {"jax": ours, "torch": theirs}, masks


@check("forward.train", runs="all", unless=_same_in_both_modes)
def training(case: Case) -> Iterator[Reading]:
    """Batch statistics and dropout, one mask for all three."""
    twins = pair.build(case.config)
    for kind in ("oblong", "offset"):
        image = pair.image(case, kind)
        found, masks = masked_training_pass(twins, image)
        # A layer that drew nothing kept everything: a difference to be measured, and no reason to crash.
        full = {name: masks.get(name, np.ones(1)) for name in dropout_nodes(twins.graph)}
        wanted = twins.reference(image, training=True, masks=full)
        # The mean is subtracted again by batch norm: what cancels was rounded at the size of the mean.
        bound = FORWARD_BOUND * (pair.LARGE_MEAN if kind == "offset" and case.config.norm == "batch" else 1)
        for runtime, logits in found.items():
            yield Reading(runtime, "float64", distance(logits, wanted), bound, kind)


@check("forward.dropout", unless=lambda config: "" if config.dropout else "no dropout")
def dropout(case: Case) -> Iterator[Reading]:
    """Each twin's own random numbers: the share of values kept, in standard deviations of a binomial, is the rate's."""
    twins, image = pair.build(case.config).train(), pair.image(case)
    with torch_masks(twins.torch) as masks, torch.no_grad():
        twins.torch(pair.to_torch(image))
    graphdef, state = nnx.split(twins.jax)

    def traced(state: nnx.State, x: jax.Array) -> dict[str, tuple[jax.Array, jax.Array]]:
        model = nnx.merge(graphdef, state, copy=True)
        with nnx_calls(model) as calls:
            model(x, nnx.Rngs(dropout=3))
        return {name: (calls[name].args[0], calls[name].output) for name in dropout_nodes(twins.graph)}

    found = jax.jit(traced)(state, jnp.array(image))
    keep = 1 - case.config.dropout
    for name in dropout_nodes(twins.graph):
        given, kept = map(np.asarray, found[name])
        shares = {"jax": kept[given != 0] != 0, "torch": masks[name] != 0}
        for runtime, mask in shares.items():
            deviation = abs(mask.mean() - keep) / np.sqrt(keep * (1 - keep) / mask.size)
            yield Reading(runtime, "float64", float(deviation), 5.0, name)
