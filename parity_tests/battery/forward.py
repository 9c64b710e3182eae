"""One forward pass of the twins compared with the reference, as a whole and layer by layer, in evaluation and in
training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from unet_spec import NetworkConfig
from unet_spec.ops import BatchNorm, DropBlock, Dropout

from . import noise, outputs, pair
from .capture import nnx_calls, nnx_modules, torch_calls
from .cases import Case
from .dropout import jax_draws, reference_masks, squares, torch_draws
from .layers import dropout_nodes, features_last, has
from .measure import FORWARD_BOUND, Reading, check, distance, farthest


@check("forward.eval")
def evaluation(case: Case) -> Iterator[Reading]:
    """Every output in evaluation, on a non-square image in an odd batch and on one with a large mean."""
    kinds = ("oblong", "offset")
    if case.tier == "full":  # one image of the minimum size
        kinds = ("oblong",) if case.extra else ("smallest",)
    for dtype in ("float64", "float32"):
        yield from _forward(case, dtype, kinds, 1 if case.tier == "full" else 3)


@check("forward.smallest")
def smallest(case: Case) -> Iterator[Reading]:
    """Every output on an image of the smallest size that fits.

    One pixel, where that is possible, at the deepest level or in the output.
    """
    for dtype in ("float64", "float32"):
        yield from _forward(case, dtype, ("smallest",), 1)


def _forward(case: Case, dtype: str, kinds: tuple[str, ...], batch: int) -> Iterator[Reading]:
    twins = pair.build(case.config, dtype)
    in_jax = pair.jax_runner(twins.jax)
    for kind in kinds:
        image = pair.image(case, kind, dtype, batch)
        wanted = twins.references(image)
        found = {"jax": in_jax(image), "torch": pair.torch_outputs(twins.torch, image)}
        if dtype == "float64":
            bounds = dict.fromkeys(wanted, FORWARD_BOUND)
        else:
            eager = case.tier in ("core", "trained") and kind != "smallest"
            bounds = noise.forward_bounds(twins, image, found["jax"] if eager else None)
        for runtime, values in found.items():
            missing = set(wanted) ^ set(values)
            yield Reading(runtime, dtype, len(missing), 0, f"outputs that one side lacks: {sorted(missing)}")
            for name in set(wanted) & set(values):
                yield Reading(runtime, dtype, distance(values[name], wanted[name]), bounds[name], _at(kind, name))
            wrong = sum(value.dtype != dtype for value in values.values())
            yield Reading(runtime, dtype, wrong, 0, f"dtype of the outputs, {values['logits'].dtype}")
        for name in wanted:
            error = distance(found["jax"][name], found["torch"][name])
            yield Reading("jax, torch", dtype, error, bounds[name], _at(kind, name))


def _at(kind: str, output: str) -> str:
    return kind if output == "logits" else f"{kind}, {output}"


@check("forward.layers")
def layers(case: Case) -> Iterator[Reading]:
    """The output of every layer that is a module, under the name of its node."""
    twins = pair.build(case.config)
    image = pair.image(case)
    further, given = outputs.further_inputs(case.config, image), {}
    if further:
        given, _ = outputs.posterior_inputs(twins.graph, twins.tensors, image, further)
    wanted = twins.graph.activations(twins.tensors, image, inputs=given)
    graphdef, state = nnx.split(twins.jax)
    modules = nnx_modules(twins.jax).keys() | dict(twins.torch.named_modules()).keys()  # other operations are functions
    nodes = {n.name: wanted[n.name] for n in twins.graph if n.name in modules or n.op.parameters()}

    def traced(state: nnx.State, x: jax.Array, further: dict[str, jax.Array]) -> dict[str, jax.Array]:
        model = nnx.merge(graphdef, state)
        with nnx_calls(model) as calls:
            outputs.one_pass(model, x, further)
        return {path: call.output for path, call in calls.items() if path in nodes}

    with torch_calls(twins.torch) as calls, torch.no_grad():
        outputs.one_pass(twins.torch, pair.to_torch(image), {k: torch.from_numpy(v) for k, v in further.items()})
    last = features_last(twins.graph)
    ours = jax.jit(traced)(state, jnp.array(image), {k: jnp.array(v) for k, v in further.items()})
    found = {
        "jax": {k: np.asarray(v) for k, v in ours.items()},
        "torch": {
            k: call.output.numpy() if k in last else pair.from_torch(call.output)
            for k, call in calls.items()
            if k in nodes
        },
    }
    for runtime, values in found.items():
        worst, where = farthest(values, nodes)
        yield Reading(runtime, "float64", worst, FORWARD_BOUND, where)


def _same_in_both_modes(config: NetworkConfig) -> str:
    knows = has(config.graph, BatchNorm, Dropout, DropBlock)
    return "" if knows else "no layer that knows training from evaluation"


def masked_training_pass(twins: pair.Pair, image: np.ndarray) -> tuple[dict[str, dict[str, np.ndarray]], dict]:
    """The outputs of one pass of both twins in training mode with PyTorch's random numbers, and these numbers."""
    twins.train()
    with torch_draws(twins.torch) as draws, torch.no_grad():
        theirs = outputs.one_pass(twins.torch, pair.to_torch(image), {})
    graphdef, state = nnx.split(twins.jax)

    def run(state: nnx.State, x: jax.Array) -> dict[str, jax.Array]:
        return outputs.one_pass(nnx.merge(graphdef, state, copy=True), x, {}, nnx.Rngs(dropout=0))

    with jax_draws(twins.config, draws):
        ours = jax.jit(run)(state, jnp.array(image))
    found = {
        "jax": {name: np.asarray(value) for name, value in ours.items()},
        "torch": {name: pair.from_torch(value) for name, value in theirs.items()},
    }
    return found, draws


@check("forward.train", unless=_same_in_both_modes)
def training(case: Case) -> Iterator[Reading]:
    """Every output in training, with batch statistics and one dropout mask for all."""
    twins = pair.build(case.config)
    for kind in ("oblong", "offset"):
        image = pair.image(case, kind)
        found, draws = masked_training_pass(twins, image)
        wanted = twins.references(image, training=True, masks=reference_masks(twins.graph, draws))
        # Batch norm subtracts the mean again, so the rounding errors have the size of the mean.
        large = kind == "offset" and has(twins.graph, BatchNorm)
        for runtime, values in found.items():
            for name, value in values.items():
                bound = FORWARD_BOUND * (pair.LARGE_MEAN if large else 1)
                yield Reading(runtime, "float64", distance(value, wanted[name]), bound, _at(kind, name))


def _draws_nothing(config: NetworkConfig) -> str:
    return "" if dropout_nodes(config.graph) else "no dropout"


@check("forward.dropout", unless=_draws_nothing)
def dropout(case: Case) -> Iterator[Reading]:
    """The share of values that each twin's own dropout keeps, in standard deviations from the rate."""
    twins, image = pair.build(case.config).train(), pair.image(case)
    nodes = {name: twins.graph[name].op for name in dropout_nodes(twins.graph)}
    plain = [name for name, op in nodes.items() if isinstance(op, Dropout)]
    with torch_draws(twins.torch) as draws, torch.no_grad():
        twins.torch(pair.to_torch(image))
    graphdef, state = nnx.split(twins.jax)

    def traced(state: nnx.State, x: jax.Array) -> dict[str, tuple[jax.Array, jax.Array]]:
        model = nnx.merge(graphdef, state, copy=True)
        with nnx_calls(model) as calls:
            model(x, nnx.Rngs(dropout=3))
        return {name: (calls[name].args[0], calls[name].output) for name in plain}

    found = jax.jit(traced)(state, jnp.array(image))
    for name in plain:
        keep = 1 - nodes[name].rate
        given, kept = map(np.asarray, found[name])
        shares = {"jax": kept[given != 0] != 0, "torch": draws[name] != 0}
        for runtime, mask in shares.items():
            deviation = abs(mask.mean() - keep) / np.sqrt(keep * (1 - keep) / mask.size)
            yield Reading(runtime, "float64", float(deviation), 5.0, name)
    for name, op in list(nodes.items())[:1]:  # they are all equal
        if isinstance(op, DropBlock):
            yield from _squares(name, op, twins)


def _squares(name: str, op: DropBlock, twins: pair.Pair) -> Iterator[Reading]:
    """A pixel is kept if none of the places whose squares cover it is drawn: (1 − gamma) ** places. Its mean over many
    maps, in standard errors."""
    size = tuple(op.block * 2 + axis for axis in range(twins.config.spatial_dims))
    covering = np.zeros((1, *size, 1))
    for place in np.ndindex(*(n - op.block + 1 for n in size)):
        centre = np.zeros((1, *(n - op.block + 1 for n in size), 1))
        centre[(0, *place, 0)] = 1
        covering += 1 - squares(centre, op.block)
    places = math.prod(n - op.block + 1 for n in size)
    gamma = (1 - op.keep) / op.block ** len(size) * math.prod(size) / places  # the paper's equation 1
    keep = float(((1 - gamma) ** covering).mean())
    ones = np.ones((64, *size, 16))
    layer = _at_path(twins.jax, name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        masks = {
            "jax": np.asarray(layer.mask(jnp.array(ones), nnx.Rngs(dropout=3))),
            "torch": pair.from_torch(twins.torch.get_submodule(name).mask(pair.to_torch(ones))),
        }
    for runtime, mask in masks.items():
        shares = mask.mean(tuple(range(1, mask.ndim - 1))).ravel()
        deviation = abs(shares.mean() - keep) / (shares.std() / np.sqrt(shares.size))
        yield Reading(runtime, "float64", float(deviation), 5.0, f"{name}, squares")


def _at_path(model: Any, path: str) -> Any:
    for part in path.split("."):
        model = model[int(part)] if part.isdigit() else getattr(model, part)
    return model
