"""Three ONNX graphs, one function: ours, PyTorch's exporter's, and jax2onnx's, on the same weights.

The other two are independent witnesses: each traces its own twin and shares no line with our emitter.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Iterator

import jax
import numpy as np
import torch
from flax import nnx

from parity_tests.battery import noise, pair
from parity_tests.battery.capture import nnx_modules
from parity_tests.battery.cases import Case
from parity_tests.battery.measure import FORWARD_BOUND, Reading, check, distance
from unet_spec import UNetConfig


def run_onnx(content: bytes, image: np.ndarray) -> np.ndarray:
    """The only output for the only input, in ONNX Runtime on the CPU."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    (result,) = session.run(None, {given.name: image})
    return np.asarray(result)


def channels_first(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(image, -1, 1))


def missing(*packages: str):
    """The reason why a check that needs these packages cannot be run, or ""."""
    absent = [p for p in packages if importlib.util.find_spec(p) is None]
    return lambda config: f"{', '.join(absent)} not installed" if absent else ""


@check("onnx.ours", runs="all", unless=missing("onnx", "onnxruntime"))
def ours(case: Case) -> Iterator[Reading]:
    """Our emitter, at three sizes of one model."""
    from unet_export import onnx_emitter

    twins = pair.build(case.config, "float32")
    content = onnx_emitter.onnx_bytes(onnx_emitter.emit_onnx(case.config, twins.tensors))
    kinds = (("oblong",) if case.extra else ("smallest",)) if case.only else ("oblong", "offset", "smallest")
    for kind in kinds:
        image = pair.image(case, kind, "float32", 1 if case.only else 3)
        logits = np.moveaxis(run_onnx(content, channels_first(image)), 1, -1)
        yield Reading(
            "onnxruntime", "float32", distance(logits, twins.reference(image)), noise.forward_bound(twins, image), kind
        )


@check("onnx.evaluator", unless=missing("onnx"))
def evaluator(case: Case) -> Iterator[Reading]:
    """Our emitter in float64, in ONNX's own evaluator.

    ONNX keeps attributes in float32, so the reference is given the epsilon that float32 holds; the slope of leaky_relu
    and the evaluator's sqrt(2) in gelu cannot be given to it and set the bound.
    """
    from onnx.reference import ReferenceEvaluator

    from unet_export import onnx_emitter

    twins = pair.build(case.config)
    image = pair.image(case, batch=1)
    model = onnx_emitter.emit_onnx(case.config, twins.tensors, dtype=np.float64)
    (logits,) = ReferenceEvaluator(model).run(None, {"image": channels_first(image)})
    bound = {"leaky_relu": 1e-8, "gelu": 1e-6}.get(case.config.activation, FORWARD_BOUND)
    twins.config = case.config.replace(norm_eps=float(np.float32(case.config.norm_eps)))
    yield Reading("onnx evaluator", "float64", distance(np.moveaxis(logits, 1, -1), twins.reference(image)), bound)


@check("onnx.torch", runs="slow", unless=missing("onnx", "onnxruntime", "onnxscript"))
def from_torch(case: Case) -> Iterator[Reading]:
    """torch.onnx.export of the PyTorch twin."""
    twins, image = pair.build(case.config, "float32"), pair.image(case, dtype="float32")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(twins.torch, (pair.to_torch(image),), dynamo=True, verbose=False)
    content = program.model_proto.SerializeToString()
    logits = np.moveaxis(run_onnx(content, channels_first(image)), 1, -1)
    bound = noise.forward_bound(twins, image)
    yield Reading("torch.onnx", "float32", distance(logits, twins.reference(image)), bound)


class _NoDropout(nnx.Module):
    """Dropout in evaluation. jax2onnx 0.17 replaces nnx.Dropout by a function that refuses our argument `rngs`."""

    def __call__(self, x: jax.Array, rngs: nnx.Rngs | None = None) -> jax.Array:
        return x


class _MaxPool(nnx.Module):
    """Ours, with the window as a keyword, the only way in which jax2onnx's replacement of `nnx.max_pool` takes it."""

    def __init__(self, dims: int):
        self.window = (2,) * dims

    def __call__(self, x: jax.Array) -> jax.Array:
        return nnx.max_pool(x, window_shape=self.window, strides=self.window)


def _not_for_jax2onnx(config: UNetConfig) -> str:
    if config.spatial_dims == 3 and config.upsampling == "transposed":
        return "jax2onnx 0.17 cannot convert a transposed convolution in 3-D"
    return missing("onnx", "onnxruntime", "jax2onnx")(config)


@check("onnx.jax", runs="slow", unless=_not_for_jax2onnx)
def from_jax(case: Case) -> Iterator[Reading]:
    """jax2onnx of the Flax twin."""
    twins, image = pair.build(case.config, "float32"), pair.image(case, dtype="float32")
    for block in nnx_modules(twins.jax).values():
        if hasattr(block, "dropout"):
            block.dropout = _NoDropout()
        if hasattr(block, "pool"):
            block.pool = _MaxPool(case.config.spatial_dims)
    graphdef, state = nnx.split(twins.jax)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        from jax2onnx import to_onnx

        model = to_onnx(lambda x: nnx.merge(graphdef, state)(x), inputs=[image.shape])
    logits = run_onnx(model.SerializeToString(), image)
    bound = noise.forward_bound(twins, image)
    yield Reading("jax2onnx", "float32", distance(logits, twins.reference(image)), bound)
