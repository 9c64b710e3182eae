"""Conversion of weights between the twins: all tensors, bit for bit, without shared memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import torch
from flax import nnx

import unet_jax.registry
import unet_jax.weights
import unet_torch.registry
import unet_torch.weights
from unet_jax.nn.convolution import Fixed
from unet_spec import Checkpoint, DataSpec, Graph, InputError
from unet_spec.weights import weight_map

from . import pair
from .cases import Case
from .measure import Reading, check, differing

DTYPES = ("float16", "float32", "float64")


def random_bits(graph: Graph, dtype: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Tensors of random bit patterns: NaN payloads, infinities, subnormals; −0.0 and a signalling NaN in each."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, param in graph.params.items():
        size = int(np.prod(param.shape)) * np.dtype(dtype).itemsize
        array = np.frombuffer(rng.bytes(size), dtype).reshape(param.shape).copy()
        array.flat[0] = -0.0
        whole = array.view(f"u{array.itemsize}")
        whole.flat[-1] = np.array(np.inf, dtype).view(whole.dtype) | 1  # signalling NaN with the smallest payload
        found[name] = array
    return found


@check("mapping.bijection")
def bijection(case: Case) -> Iterator[Reading]:
    """Names, shapes and roles of tensors that differ between graph and twins, counted.

    Errors name what is wrong.
    """
    graph = case.config.graph
    twins = pair.build(case.config, "float32")
    lines = weight_map.entries(graph)
    wanted = {(e.pytorch, e.shape, e.role) for e in lines}
    yield Reading("graph", "any", len(wanted ^ {(n, p.shape, p.role) for n, p in graph.params.items()}), 0)
    yield Reading("graph", "any", len(lines) - len({e.flax for e in lines}), 0, "Flax names used twice")
    named = {
        (n, tuple(p.shape), "parameter" if p.requires_grad else "fixed") for n, p in twins.torch.named_parameters()
    }
    kept = twins.torch.state_dict()  # without the counters of batch norms
    named |= {(n, tuple(p.shape), "buffer") for n, p in twins.torch.named_buffers() if n in kept}
    yield Reading("torch", "any", len(wanted ^ named), 0, str(sorted(wanted ^ named)[:2]))
    roles = {nnx.Param: "parameter", nnx.BatchStat: "buffer", Fixed: "fixed"}
    built = pair.jax_shapes(case.config)
    flat = nnx.to_flat_state(nnx.state(built))  # before weights are loaded, which replaces shapes
    leaves = {(tuple(map(str, path)), tuple(v.shape), roles.get(type(v), str(type(v)))) for path, v in flat}
    ours = {(e.flax, e.flax_shape, e.role) for e in lines}
    yield Reading("jax", "any", len(ours ^ leaves), 0, str(sorted(ours ^ leaves)[:2]))
    unet_jax.weights.load_tensors(built, twins.tensors)
    for runtime, load in (
        ("torch", lambda t: unet_torch.weights.load_tensors(twins.torch, t)),
        ("jax", lambda t: unet_jax.weights.load_tensors(built, t)),
    ):
        yield Reading(
            runtime, "any", _unrefused(load, twins.tensors), 0, "missing, left over or misshapen, not refused"
        )


def _unrefused(load: Callable[[dict], None], tensors: dict[str, np.ndarray]) -> int:
    """How many of three wrong sets of tensors are taken, or refused without naming the tensor."""
    name = next(reversed(tensors))
    shaped = next(n for n in reversed(tensors) if n.endswith("weight"))
    wrong = {
        name: {n: t for n, t in tensors.items() if n != name},
        "encoder.9.left_over": tensors | {"encoder.9.left_over": np.zeros(3, np.float32)},
        shaped: tensors | {shaped: tensors[shaped][..., None]},
    }
    count = 0
    for printed, given in wrong.items():
        try:
            load(given)
            count += 1
        except InputError as e:
            count += not any(part in str(e) for part in (printed, printed.replace("weight", "kernel")))
    return count


@check("mapping.round_trip")
def round_trip(case: Case) -> Iterator[Reading]:
    """Tensors of random bits that change on the way through map and models and back, counted.

    Each way and in each dtype.
    """
    graph = case.config.graph
    for dtype in DTYPES:
        bits = random_bits(graph, dtype)
        flax = weight_map.to_flax(graph, bits)
        yield Reading("map", dtype, differing(weight_map.to_pytorch(graph, flax), bits), 0, "torch → flax → torch")
        again = weight_map.to_flax(graph, weight_map.to_pytorch(graph, flax))
        yield Reading("map", dtype, differing(again, flax), 0, "flax → torch → flax")
        theirs = unet_torch.weights.tensors(pair.torch_twin(case.config, bits))
        yield Reading("torch", dtype, differing(theirs, bits), 0, "loaded and read")
        ours = unet_jax.weights.tensors(pair.jax_twin(case.config, theirs))
        yield Reading("jax", dtype, differing(ours, bits), 0, "from torch")
        back = unet_torch.weights.tensors(pair.torch_twin(case.config, ours))
        yield Reading("torch", dtype, differing(back, bits), 0, "torch → jax → torch")


@check("mapping.checkpoint")
def checkpoint(case: Case) -> Iterator[Reading]:
    """Files and tensors of a checkpoint that change when the twins read and write it, counted.

    Strided views are stored right.
    """
    tensors = random_bits(case.config.graph, "float32", 3)
    strided = {n: np.repeat(t[..., None], 2, -1)[..., 0] for n, t in tensors.items()}
    strided = {n: np.asfortranarray(t) if t.ndim > 1 else t for n, t in strided.items()}
    with tempfile.TemporaryDirectory() as folder:
        a, b, c = (Path(folder) / name for name in "abc")
        data = DataSpec(overlapping=getattr(case.config, "overlapping", False))
        Checkpoint(case.config, strided, data).save(a)
        yield Reading(
            "file", "float32", differing(Checkpoint.load(a).tensors, tensors), 0, "views that are not contiguous"
        )
        unet_torch.registry.from_pretrained(a).save_pretrained(b)
        unet_jax.registry.from_pretrained(b).save_pretrained(c)
        for name in ("config.json", "model.safetensors"):
            same = (a / name).read_bytes() == (b / name).read_bytes() == (c / name).read_bytes()
            yield Reading("file", "float32", int(not same), 0, f"{name}: file → torch → jax")


@check("mapping.aliasing")
def aliasing(case: Case) -> Iterator[Reading]:
    """Tensors that move when another copy of the weights is changed in place, counted.

    The copies: the arrays that were loaded, the twins, the arrays that were read from them.
    """
    twins = pair.build(case.config, "float32")
    source, kept = twins.tensors, {n: t.copy() for n, t in twins.tensors.items()}
    from_torch = unet_torch.weights.tensors(twins.torch)
    second = pair.jax_twin(case.config, from_torch)

    def torch_now() -> dict[str, np.ndarray]:
        return {n: t.detach().numpy() for n, t in twins.torch.state_dict().items()}

    def jax_now() -> dict[str, np.ndarray]:
        return unet_jax.weights.tensors(twins.jax)

    for arrays in (source, from_torch, unet_jax.weights.tensors(twins.jax)):
        for array in arrays.values():
            array += 1
    yield Reading("torch", "float32", differing(torch_now(), kept), 0, "after its source was written to")
    yield Reading("jax", "float32", differing(jax_now(), kept), 0, "after its source was written to")
    before = {n: t.copy() for n, t in source.items()}
    own = jax_now()
    with torch.no_grad():
        for tensor in twins.torch.state_dict().values():
            tensor.add_(2)
    yield Reading("source", "float32", differing(source, before), 0, "after PyTorch trained in place")
    yield Reading("jax", "float32", differing(jax_now(), own), 0, "after PyTorch trained in place")
    yield Reading("jax", "float32", differing(unet_jax.weights.tensors(second), kept), 0, "of a transfer, after that")
    theirs = {n: t.copy() for n, t in torch_now().items()}
    _, state = nnx.split(twins.jax)
    jax.block_until_ready(jax.jit(lambda s: jax.tree.map(lambda a: a * 3, s), donate_argnums=0)(state))
    yield Reading("source", "float32", differing(source, before), 0, "after JAX wrote to donated memory")
    yield Reading("torch", "float32", differing(torch_now(), theirs), 0, "after JAX wrote to donated memory")
