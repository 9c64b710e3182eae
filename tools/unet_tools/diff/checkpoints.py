"""Opens a checkpoint in a runtime as one side of a comparison."""

from __future__ import annotations

import dataclasses
from typing import Literal

from unet_spec import Checkpoint, InputError
from unet_spec.weights.check import check_finite

from ..arguments.runtimes import installed
from .sides.trace import Side

DiffRuntime = Literal["jax", "torch", "onnx", "reference"]
Dtype = Literal["float64", "float32"]


def open_side(checkpoint: Checkpoint, runtime: DiffRuntime, dtype: Dtype, training: bool, title: str) -> Side:
    """Opens the network of a checkpoint in a runtime, without dropout.

    Args:
        checkpoint: its weights are rounded to `dtype`.
        runtime: "reference" is NumPy, which always computes in float64.
        dtype: dtype of weights and arithmetic.
        training: batch norms use the batch's statistics.
        title: name of the side, for messages.

    Raises:
        InputError: a weight is not finite, or the runtime is not installed or does not support the dtype or training.
    """
    if runtime != "reference" and not installed(runtime):
        raise InputError(f"the runtime {runtime} is not installed; pip install 'unet-twins[{runtime}]'")
    check_finite(checkpoint.tensors, title)
    config, tensors = checkpoint.config, {name: t.astype(dtype) for name, t in checkpoint.tensors.items()}
    off = {"dropout": 0.0, "keep": 1.0}
    if changes := {name: value for name, value in off.items() if getattr(config, name, value) != value}:
        config = config.replace(**changes)
    checkpoint = dataclasses.replace(checkpoint, config=config, tensors=tensors)
    if runtime == "onnx":
        if dtype == "float64" or training:
            raise InputError(
                "ONNX Runtime supports inference in float32 only; use --dtype float32 and leave out --train"
            )
        from .sides.onnx import OnnxSide

        return OnnxSide(checkpoint, title)
    if runtime == "reference":
        from .sides.graph import ReferenceSide

        return ReferenceSide(checkpoint, training, title)
    if runtime == "torch":
        from unet_torch import registry as torch_zoo

        from .sides.torch import TorchSide

        return TorchSide(torch_zoo.from_checkpoint(checkpoint).train(training), title)
    import jax

    from unet_jax import registry as jax_zoo

    from .sides.nnx import NnxSide

    with jax.enable_x64(dtype == "float64"):
        model = jax_zoo.from_checkpoint(checkpoint)
        if training:
            model.train()
        return NnxSide(model, title)
