"""Compares any two modules, including the user's own."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unet_spec import InputError

from ..compare import compare
from ..result import Comparison
from .module import Layout, ModuleSide


def compare_modules(
    a: Any,
    b: Any,
    inputs: np.ndarray | Sequence[np.ndarray],
    names: Mapping[str, str] | None = None,
    *,
    layout: Layout = "channels",
    backward: bool = False,
    tolerance: float | None = None,
) -> Comparison:
    """Compares two modules layer by layer: a torch.nn.Module with a flax.nnx.Module, or two modules of the same
    framework.

        report = compare_modules(torch_module, nnx_module, image, names={"features.0": "conv1"})
        report.same, report.first(), report.first("backward")

    Neither module is changed; both run eagerly in their current mode (training or evaluation). Dropout must be off,
    since the two frameworks draw different masks.

    Args:
        a: the module under test.
        b: the reference. The caller loads equal weights into both; differences are reported.
        inputs: the positional arguments, floating or integer NumPy arrays, channels last: (N, H, W, C). Floating ones
            are converted to the dtype of each module's first floating parameter.
        names: dotted path in `a` to dotted path in `b`, for modules whose paths differ; an entry applies to everything
            below it, too ("features": "encoder" makes "features.0" "encoder.0"). Other paths must be equal.
        layout: "channels": tensors of four axes or more are channels-first in PyTorch, channels-last in Flax. "same":
            axes are the same in both. Or a mapping from path patterns ("attention.*") to one of the two; the first
            matching pattern applies, and "channels" if none matches. "" is the path of the network itself.
        backward: also compare the gradients of sum(r · output), r random, with respect to every module's inputs and
            parameters.
        tolerance: relative own error above which a layer differs; None derives it (`unet_tools.diff.bounds`).

    Modules that only one network calls are listed in `Comparison.unmatched`; their code counts as part of the calling
    module. A module that is called several times is compared call by call ("norm", "norm#2").

    Raises:
        InputError: a or b is not a module, or an input not an array; no path exists in both (the message proposes
            `names` by order and shape); `names` has an unknown path; with `backward`, the outputs differ in shape.
    """
    arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
    for i, array in enumerate(arrays):
        if not isinstance(array, np.ndarray):
            raise InputError(f"inputs[{i}] is a {type(array).__name__}; expected a NumPy array, channels last")
    allowed = {layout} if isinstance(layout, str) else set(layout.values())
    if not allowed <= {"channels", "same"}:
        raise InputError(f"layout is {layout!r}; allowed: 'channels', 'same', or a mapping from path patterns to these")
    kinds = [_kind(module, which) for module, which in ((a, "a"), (b, "b"))]
    titles = kinds if kinds[0] != kinds[1] else [f"{kind} {which}" for kind, which in zip(kinds, "ab", strict=True)]
    sides = [_side(module, kind, title, layout) for module, kind, title in zip((a, b), kinds, titles, strict=True)]
    return compare(sides[0], sides[1], arrays, names=names, backward=backward, tolerance=tolerance)


def _kind(module: Any, which: str) -> str:
    """The framework of a module. Its framework must already be imported."""
    torch, flax = sys.modules.get("torch"), sys.modules.get("flax.nnx")
    if torch is not None and isinstance(module, torch.nn.Module):
        return "torch"
    if flax is not None and isinstance(module, flax.Module):
        return "nnx"
    raise InputError(f"{which} is a {type(module).__name__}; expected a torch.nn.Module or a flax.nnx.Module")


def _side(module: Any, kind: str, title: str, layout: Layout) -> ModuleSide:
    if kind == "torch":
        from .torch import TorchSide

        return TorchSide(module, title, layout)
    from .nnx import NnxSide

    return NnxSide(module, title, layout)
