"""nnU-Net v2: infers the network of a state_dict from its shapes, and the remaining settings from the plans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError
from ..families.staged_unet import StagedUNetConfig, stages_of
from .shapes import Shapes
from .table import Constants

_NORMS = {"InstanceNorm2d": "instance", "InstanceNorm3d": "instance", "BatchNorm2d": "batch", "BatchNorm3d": "batch"}
_NONLINS = {"LeakyReLU": "leaky_relu", "ReLU": "relu"}


def infer(shapes: Shapes, metadata: Mapping[str, Any]) -> StagedUNetConfig:
    """The network. Raises InputError.

    With `metadata["plans"]` (plans.json) and `metadata["configuration"]` ("2d", "3d_fullres", …), the norm's eps and
    the activation are those of the plans, and the tensors must agree with the plans. Without them, nnU-Net's usual
    values are used (1e-5, leaky ReLU of slope 0.01).
    """
    residual = "encoder.stages.0.blocks.0.conv1.conv.weight" in shapes
    first = "encoder.stages.{}.blocks.0.conv1.conv.weight" if residual else "encoder.stages.{}.0.convs.0.conv.weight"
    stages = shapes.count(first)
    if not stages:
        raise shapes.refuse(
            f"neither {first.format(0)} nor a residual stage is present; only plain and residual encoders are supported"
        )
    weights = [shapes.conv(first.format(i)) for i in range(stages)]
    dims = len(weights[0]) - 2
    ups = [shapes.of(f"decoder.transpconvs.{j}.weight", dims + 2) for j in range(stages - 1)]
    blocks = (
        "encoder.stages.{}.blocks.{{}}.conv1.conv.weight" if residual else "encoder.stages.{}.0.convs.{{}}.conv.weight"
    )
    image = shapes.conv("encoder.stem.convs.0.conv.weight") if residual else weights[0]
    head = shapes.of(f"decoder.seg_layers.{stages - 2}.weight", dims + 2)
    try:
        kwargs = _kwargs(shapes, metadata)
        planned = {} if kwargs is None else _from_plans(shapes, kwargs)
    except (KeyError, TypeError, AttributeError, ValueError) as e:
        raise e if isinstance(e, InputError) else shapes.refuse(f"the plans cannot be read ({e!r})") from None
    config = StagedUNetConfig(
        in_channels=image[1],
        out_channels=head[0],
        spatial_dims=dims,
        widths=tuple(w[0] for w in weights),
        kernels=tuple(w[2:] for w in weights),
        strides=((1,) * dims, *(up[2:] for up in reversed(ups))),
        depths=tuple(shapes.depth(blocks.format(i)) for i in range(stages)),
        decoder_depths=tuple(shapes.depth(f"decoder.stages.{j}.convs.{{}}.conv.weight") for j in range(stages - 1)),
        residual="pool" if residual else "none",
        stem=residual,
        conv_bias=shapes.any("encoder.", ".conv.bias"),
        up_bias=shapes.any("decoder.transpconvs.", ".bias"),
        norm=shapes.norm("encoder.", ".norm"),
        sides=stages - 2,
        **planned,
    )
    if kwargs is not None:
        _check_plans(config, shapes, kwargs)
    return config


def constants(config: StagedUNetConfig) -> Constants:
    """The numbers in the table's rows."""
    pooled = tuple(int(max(stride) > 1) for stride in stages_of(config).strides)
    return {"last": len(config.widths) - 1, "skip": pooled}


def architecture(plans: Mapping[str, Any], configuration: str, where: str) -> dict[str, Any] | None:
    """The network's part of plans.json, {"network_class_name", "arch_kwargs"}, with inheritance as in nnU-Net.

    None for plans from before version 2.4, which do not have it. Raises InputError.
    """
    merged: dict[str, Any] = {}
    name: Any = configuration
    seen: set[str] = set()
    while name is not None:
        values = plans.get("configurations", {}).get(name)
        if not isinstance(values, dict) or name in seen:
            known = ", ".join(plans.get("configurations", {}))
            raise InputError(f"{where}: the plans have no usable configuration {name!r}; they have {known}")
        seen.add(name)
        merged = {**values, **merged}
        name = values.get("inherits_from")
    return merged.get("architecture")


def _kwargs(shapes: Shapes, metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """The arguments of the network in the plans; None if there are no plans, or old ones."""
    known = metadata if metadata.get("plans") else metadata.get("init_args")  # those in the checkpoint
    if not isinstance(known, Mapping) or not isinstance(known.get("plans"), Mapping) or not known.get("configuration"):
        return None
    network = architecture(known["plans"], known["configuration"], shapes.where)
    return None if network is None else dict(network["arch_kwargs"])


def _from_plans(shapes: Shapes, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that only the plans contain."""
    nonlin = str(kwargs.get("nonlin", "LeakyReLU")).rpartition(".")[2]
    if nonlin not in _NONLINS:
        raise shapes.refuse(f"the plans' activation is {nonlin}; only {' and '.join(_NONLINS)} are supported")
    slope = (kwargs.get("nonlin_kwargs") or {}).get("negative_slope", 0.01)
    norm = kwargs.get("norm_op_kwargs") or {}
    momentum = norm.get("momentum", 0.1)
    return {
        "activation": _NONLINS[nonlin],
        "slope": float(slope),
        "norm_eps": float(norm.get("eps", 1e-5)),
        "norm_momentum": 0.1 if momentum is None else float(momentum),
    }


def _check_plans(config: StagedUNetConfig, shapes: Shapes, kwargs: Mapping[str, Any]) -> None:
    """Raises InputError if plans and tensors disagree."""
    stages = stages_of(config)
    actual = {
        "features_per_stage": config.widths,
        "kernel_sizes": stages.kernels,
        "strides": stages.strides,
        "n_conv_per_stage" if config.residual == "none" else "n_blocks_per_stage": stages.depths,
        "n_conv_per_stage_decoder": stages.decoder_depths,
        "norm_op": config.norm,
    }
    norm = kwargs.get("norm_op")
    norm = "none" if norm is None else _NORMS.get(str(norm).rpartition(".")[2], str(norm))
    planned = {key: kwargs.get(key) for key in actual} | {"norm_op": norm}
    for key, value in actual.items():
        if not _equal(planned[key], value):
            raise shapes.refuse(f"the plans have {key} {planned[key]}, the tensors {value}")


def _equal(planned: Any, actual: Any) -> bool:
    """Whether both are equal as sequences; a single number in the plans stands for all entries."""
    if isinstance(actual, tuple):
        if isinstance(planned, int):
            return all(_equal(planned, value) for value in actual)
        same_length = isinstance(planned, list | tuple) and len(planned) == len(actual)
        return same_length and all(map(_equal, planned, actual))
    return planned == actual
