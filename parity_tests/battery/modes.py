"""A network in every mode of execution: eager, jitted, compiled, in another memory layout, in bfloat16."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import torch
from flax import nnx

import unet_jax.weights
from unet_spec import Graph, NetworkConfig
from unet_spec.ops import (
    AvgPool,
    BatchNorm,
    ChannelMax,
    Concat,
    Crop,
    CropLike,
    DropBlock,
    Dropout,
    ExpandLike,
    Input,
    LatentInput,
    MaxPool,
    NearestUpsample,
    Pad,
    PadEnd,
    RepeatLike,
    WindowMaxPool,
)

from . import noise, pair
from .cases import Case
from .layers import has, without_dropout
from .measure import FORWARD_BOUND, Reading, check, distance, farthest


@check("modes.jax")
def jax_modes(case: Case) -> Iterator[Reading]:
    """JAX eager, under `nnx.jit`, and under `jax.jit` over the split state.

    And the statistics that `nnx.jit` leaves behind.
    """
    for dtype in ("float64", "float32"):
        twins = pair.build(case.config, dtype)
        image = pair.image(case, dtype=dtype)
        wanted = twins.reference(image)
        bound = FORWARD_BOUND if dtype == "float64" else noise.rounding_bound(twins, image)
        found = {"jax eager": twins.jax(jnp.array(image)), "jax.jit": pair.jax_forward(twins.jax, image)}
        if dtype == "float64":
            found["nnx.jit"] = nnx.jit(lambda model, x: model(x))(twins.jax, jnp.array(image))
        for runtime, logits in found.items():
            yield Reading(runtime, dtype, distance(np.asarray(logits), wanted), bound)
    if has(case.config.graph, BatchNorm):
        twins = pair.build(without_dropout(case.config)).train()
        other = pair.jax_twin(twins.config, twins.tensors)
        other.train()
        nnx.jit(lambda model, x: model(x))(twins.jax, jnp.array(pair.image(case)))
        other(jnp.array(pair.image(case)))
        worst, where = farthest(unet_jax.weights.tensors(twins.jax), unet_jax.weights.tensors(other))
        yield Reading("nnx.jit", "float64", worst, FORWARD_BOUND, f"statistics, {where}")


@check("modes.channels_last")
def layouts(case: Case) -> Iterator[Reading]:
    """PyTorch with weights and image in the layout (N, *spatial, C)."""
    for dtype in ("float64", "float32"):
        twins = pair.build(case.config, dtype)
        image = pair.image(case, dtype=dtype)
        bound = FORWARD_BOUND if dtype == "float64" else noise.rounding_bound(twins, image)
        with torch.no_grad():
            logits = pair.channels_last(twins.torch)(pair.channels_last(pair.to_torch(image)))
        yield Reading("torch channels_last", dtype, distance(pair.from_torch(logits), twins.reference(image)), bound)


@check("modes.compile", only=("paper", "crop-batch"))
def compiled(case: Case) -> Iterator[Reading]:
    """`torch.compile(fullgraph=True)`: the whole network in one graph.

    In both dtypes.
    """
    for dtype in ("float64", "float32"):
        torch.compiler.reset()
        twins = pair.build(case.config, dtype)
        image = pair.image(case, dtype=dtype)
        bound = FORWARD_BOUND if dtype == "float64" else noise.rounding_bound(twins, image)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's, at the first import of its compiler
            logits = torch.compile(twins.torch, fullgraph=True)(pair.to_torch(image))
        yield Reading("torch.compile", dtype, distance(pair.from_torch(logits), twins.reference(image)), bound)


EXACT = (
    Input,
    Concat,
    Crop,
    CropLike,
    Pad,
    PadEnd,
    ExpandLike,
    RepeatLike,
    MaxPool,
    WindowMaxPool,
    ChannelMax,
    NearestUpsample,
    Dropout,
    DropBlock,
)
"""Operations without rounding (in evaluation). AvgPool, a subclass of MaxPool, rounds."""
BRIEF_UNIT = 2.0**-8
"""Relative rounding error of bfloat16, which has 8 significant bits."""


def longest_path(graph: Graph) -> int:
    """Number of operations with rounding on the longest path from the image to the logits."""
    depth: dict[str, int] = {}
    for node in graph:
        rounds = not isinstance(node.op, EXACT) or isinstance(node.op, AvgPool)
        depth[node.name] = max((depth[i] for i in node.inputs), default=0) + rounds
    return depth[graph.output.name]


def rounded_forward(graph: Graph, tensors: dict[str, np.ndarray], image: np.ndarray) -> np.ndarray:
    """The reference with image, weights and the output of every operation rounded to bfloat16: the error of storing
    values in bfloat16, for any implementation."""

    def brief(array: np.ndarray) -> np.ndarray:
        return array.astype(ml_dtypes.bfloat16).astype(np.float64)

    values: dict[str, np.ndarray] = {}
    for node in graph.inference:
        given = [values[i] for i in node.inputs] or [image]
        if isinstance(node.op, LatentInput):
            given = [np.zeros((len(image), *[1] * graph.spatial_dims, node.op.features))]
        own = {key: brief(tensors[f"{node.name}.{key}"]) for key in node.op.parameters()}
        values[node.name] = brief(node.op.compute(own, *given))
    return values[graph.output.name]


def _not_in_bfloat16(config: NetworkConfig) -> str:
    lacks = config.spatial_dims == 3 and has(config.graph, AvgPool)
    return "PyTorch 2.13 has no average pooling of volumes in bfloat16 on a CPU" if lacks else ""


@check("modes.bfloat16", unless=_not_in_bfloat16)
def bfloat16(case: Case) -> Iterator[Reading]:
    """Weights and image in bfloat16 against float64.

    The bound is FACTOR times what rounding every stored value costs the reference. It must itself be in reach of
    theory: roundings of relative size u = 2⁻⁸ at each of L operations in a row add up to L · u at most, to first
    order, where no operation amplifies.
    """
    twins, image = pair.build(case.config, "float32"), pair.image(case, dtype="float32")
    wanted = twins.reference(image)
    floor = distance(rounded_forward(twins.graph, pair.double(twins.tensors), image.astype(np.float64)), wanted)
    bound = min(noise.FACTOR * floor, longest_path(twins.graph) * BRIEF_UNIT)
    graphdef, state = nnx.split(twins.jax)
    brief = jax.tree.map(lambda a: a.astype(jnp.bfloat16), state)
    ours = jax.jit(lambda s, x: nnx.merge(graphdef, s)(x))(brief, jnp.array(image, jnp.bfloat16))
    with torch.no_grad():
        theirs = twins.torch.to(torch.bfloat16)(pair.to_torch(image).to(torch.bfloat16))
    yield Reading("jax", "bfloat16", int(ours.dtype != jnp.bfloat16), 0, f"output is {ours.dtype}")
    yield Reading("torch", "bfloat16", int(theirs.dtype != torch.bfloat16), 0, f"output is {theirs.dtype}")
    yield Reading("jax", "bfloat16", distance(np.asarray(ours, np.float64), wanted), bound)
    yield Reading("torch", "bfloat16", distance(pair.from_torch(theirs.double()), wanted), bound)
