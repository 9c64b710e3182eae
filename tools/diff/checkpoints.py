"""A checkpoint in a runtime, as one side of a comparison."""

from __future__ import annotations

import dataclasses
from typing import Literal

from unet_spec import Checkpoint, InputError
from unet_tools.diff.trace import Side
from unet_tools.runtimes import installed

DiffRuntime = Literal["jax", "torch", "onnx", "reference"]
Dtype = Literal["float64", "float32"]


def open_side(checkpoint: Checkpoint, runtime: DiffRuntime, dtype: Dtype, training: bool, title: str) -> Side:
    """The network with its weights rounded to `dtype`, without dropout. "reference" computes in float64 even so.

    training: batch norms use the batch's statistics. Raises InputError: a runtime that is not installed or cannot do
    what is asked.
    """
    if runtime != "reference" and not installed(runtime):
        raise InputError(f"the runtime {runtime} is not installed; pip install 'unet-twins[{runtime}]'")
    config, tensors = checkpoint.config, {name: t.astype(dtype) for name, t in checkpoint.tensors.items()}
    off = {"dropout": 0.0, "keep": 1.0}
    if changes := {name: value for name, value in off.items() if getattr(config, name, value) != value}:
        config = config.replace(**changes)
    checkpoint = dataclasses.replace(checkpoint, config=config, tensors=tensors)
    if runtime == "onnx":
        if dtype == "float64" or training:
            raise InputError("ONNX Runtime runs the network for inference in float32; use --dtype float32, no --train")
        from unet_tools.diff.graph_side import onnx_side

        return onnx_side(checkpoint, title)
    if runtime == "reference":
        from unet_tools.diff.graph_side import reference_side

        return reference_side(checkpoint, training, title)
    if runtime == "torch":
        from unet_tools.diff.torch_side import TorchSide
        from unet_torch import zoo as torch_zoo

        return TorchSide(torch_zoo.from_checkpoint(checkpoint).train(training), title)
    import jax

    from unet_jax import zoo as jax_zoo
    from unet_tools.diff.nnx_side import NnxSide

    with jax.enable_x64(dtype == "float64"):
        model = jax_zoo.from_checkpoint(checkpoint)
        if training:
            model.train()
        return NnxSide(model, title)
