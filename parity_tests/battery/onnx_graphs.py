"""Three ONNX graphs, one function: ours, PyTorch's exporter's, and jax2onnx's, on the same weights.

The other two are independent: each traces its own twin and shares no code with our emitter.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import math
import warnings
from collections.abc import Iterator
from unittest import mock

import jax
import numpy as np
import torch
from flax import nnx

from unet_jax.nn import spatial
from unet_spec import NetworkConfig
from unet_spec.families.probabilistic_unet import NOISE
from unet_spec.ops import ACTIVATIONS, ConvTranspose, WindowMaxPool

from . import noise, outputs, pair
from .capture import nnx_modules
from .cases import Case
from .layers import has, with_float32_attributes
from .measure import FORWARD_BOUND, Reading, check, distance


def run_onnx(content: bytes, image: np.ndarray, **further: np.ndarray) -> np.ndarray:
    """The only output for the only required input, in ONNX Runtime on the CPU."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    (result,) = session.run(None, {given.name: image} | further)
    return np.asarray(result)


def channels_first(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(image, -1, 1))


def missing(*packages: str):
    """The reason why a check that needs these packages cannot be run, or ""."""
    absent = [p for p in packages if importlib.util.find_spec(p) is None]
    return lambda config: f"{', '.join(absent)} not installed" if absent else ""


@check("onnx.ours", unless=missing("onnx", "onnxruntime"))
def ours(case: Case) -> Iterator[Reading]:
    """Our ONNX file at three sizes of the image."""
    from unet_export.onnx import emitter as onnx_emitter

    twins = pair.build(case.config, "float32")
    content = onnx_emitter.onnx_bytes(onnx_emitter.emit_onnx(case.config, twins.tensors))
    kinds = (("oblong",) if case.extra else ("smallest",)) if case.tier == "full" else ("oblong", "offset", "smallest")
    for kind in kinds:
        image = pair.image(case, kind, "float32", 1 if case.tier == "full" else 3)
        wanted, bounds = twins.references(image), noise.forward_bounds(twins, image)
        for name, further in _inputs(case, image).items():
            logits = np.moveaxis(run_onnx(content, channels_first(image), **further), 1, -1)
            where = kind if name == "logits" else f"{kind}, {name}"
            yield Reading("onnxruntime", "float32", distance(logits, wanted[name]), bounds[name], where)


def _inputs(case: Case, image: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """The further inputs for each output of the graph, by name; inputs for training only are not emitted."""
    further = outputs.further_inputs(case.config, image)
    if not further:
        return {"logits": {}}
    return {"logits": {}} | {f"hypothesis {i}": {NOISE: eps} for i, eps in enumerate(further[NOISE])}


@check("onnx.evaluator", unless=missing("onnx"))
def evaluator(case: Case) -> Iterator[Reading]:
    """Our ONNX graph in float64, in ONNX's own evaluator.

    ONNX keeps attributes, and the evaluator the values of erf, in float32. The reference is given what float32
    holds of them: otherwise the bound would have to hide mistakes of their size, such as a norm's epsilon.
    """
    from onnx.reference import ReferenceEvaluator

    from unet_export.onnx import emitter as onnx_emitter

    twins = pair.build(case.config)
    image = pair.image(case, batch=1)
    model = onnx_emitter.emit_onnx(case.config, twins.tensors, dtype=np.float64)
    (logits,) = ReferenceEvaluator(model).run(None, {"image": channels_first(image)})
    with mock.patch.dict(ACTIVATIONS, IN_FLOAT32):
        wanted = with_float32_attributes(twins.graph).forward(twins.tensors, image)
    yield Reading("onnx evaluator", "float64", distance(np.moveaxis(logits, 1, -1), wanted), FORWARD_BOUND)


IN_FLOAT32 = {
    "leaky_relu": lambda x: np.where(x >= 0, x, float(np.float32(0.01)) * x),
    "gelu": lambda x: x * 0.5 * (1 + np.vectorize(math.erf, otypes=[np.float32])(x / math.sqrt(2)).astype(x.dtype)),
}
"""Activations with their constants, and the values of erf, rounded to float32."""


@check("onnx.lowered", unless=missing("onnx"))
def lowered(case: Case) -> Iterator[Reading]:
    """The deployed graph, with norms folded and transposed convolutions split, against the trained one."""
    from unet_export.onnx.lowering import lower

    twins, image = pair.build(case.config), pair.image(case)
    for split in (False, True):
        network = lower(twins.graph, twins.tensors, split_transposed=split)
        worst = distance(network.graph.forward(network.tensors, image), twins.reference(image))
        yield Reading("lowered graph", "float64", worst, FORWARD_BOUND, "split" if split else "folded")


@check("onnx.torch", unless=missing("onnx", "onnxruntime", "onnxscript"))
def from_torch(case: Case) -> Iterator[Reading]:
    """The ONNX file that torch.onnx.export writes of the PyTorch twin."""
    twins, image = pair.build(case.config, "float32"), pair.image(case, dtype="float32")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # deprecations inside the exporter
        program = torch.onnx.export(twins.torch, (pair.to_torch(image),), dynamo=True, verbose=False)
    content = program.model_proto.SerializeToString()
    logits = np.moveaxis(run_onnx(content, channels_first(image)), 1, -1)
    bound = noise.forward_bounds(twins, image)["logits"]
    yield Reading("torch.onnx", "float32", distance(logits, twins.reference(image)), bound)


class _NoDropout(nnx.Module):
    """Dropout in evaluation. jax2onnx 0.17 replaces nnx.Dropout by a function that refuses our argument `rngs`."""

    def __call__(self, x: jax.Array, rngs: nnx.Rngs | None = None) -> jax.Array:
        return x


class _Pool(nnx.Module):
    """Our pooling with all arguments by keyword, as jax2onnx's replacement of nnx's pooling requires."""

    def __init__(self, ours: spatial.MaxPool | spatial.AvgPool | spatial.WindowMaxPool):
        self.ours = ours

    def __call__(self, x: jax.Array) -> jax.Array:
        ours, dims = self.ours, x.ndim - 2
        pool = nnx.avg_pool if isinstance(ours, spatial.AvgPool) else nnx.max_pool
        stride = ours.stride if isinstance(ours, spatial.WindowMaxPool) else ours.window
        return pool(x, window_shape=spatial.per_axis(ours.window, dims), strides=spatial.per_axis(stride, dims))


def _not_for_jax2onnx(config: NetworkConfig) -> str:
    if config.spatial_dims == 3 and has(config.graph, ConvTranspose):
        return "jax2onnx 0.17 cannot convert a transposed convolution in 3-D"
    if any(isinstance(node.op, WindowMaxPool) and node.op.ceil for node in config.graph):
        return "jax2onnx 0.17 drops the padding with which our max-pool lets windows overhang"
    return missing("onnx", "onnxruntime", "jax2onnx")(config)


@check("onnx.jax", unless=_not_for_jax2onnx)
def from_jax(case: Case) -> Iterator[Reading]:
    """The ONNX file that jax2onnx writes of the Flax twin."""
    twins, image = pair.build(case.config, "float32"), pair.image(case, dtype="float32")
    for block in nnx_modules(twins.jax).values():
        for name, part in list(vars(block).items()):
            if isinstance(part, nnx.Dropout):
                setattr(block, name, _NoDropout())
            elif isinstance(part, spatial.MaxPool | spatial.AvgPool | spatial.WindowMaxPool):
                setattr(block, name, _Pool(part))
    graphdef, state = nnx.split(twins.jax)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        from jax2onnx import to_onnx

        model = to_onnx(lambda x: nnx.merge(graphdef, state)(x), inputs=[image.shape])
    logits = run_onnx(model.SerializeToString(), image)
    bound = noise.forward_bounds(twins, image)["logits"]
    yield Reading("jax2onnx", "float32", distance(logits, twins.reference(image)), bound)
