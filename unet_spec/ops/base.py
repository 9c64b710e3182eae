"""The base class of all operations, and its interface. README.md beside this file explains the design."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

import numpy as np

Value = TypeVar("Value")
Interval = tuple[int, int]
"""Half-open range of positions along one axis: (first, last + 1). It may extend beyond the axis, into the padding."""


class SizeError(ValueError):
    """A size that an operation cannot take: an odd one before pooling, or too few pixels for a convolution."""


@dataclass(frozen=True)
class Param:
    """A tensor that an operation owns.

    Attributes:
        shape: in PyTorch's axis order.
        role: "parameter" (trained), "fixed" (a weight that is not trained) or "buffer" (running statistics).
        std, constant: initial values: the standard deviation of a zero-mean normal, or one constant.
        start: "bilinear" if the initial values are those of an interpolation kernel, else "random".
    """

    shape: tuple[int, ...]
    role: Literal["parameter", "fixed", "buffer"] = "parameter"
    std: float = 0.0
    constant: float = 0.0
    start: Literal["random", "bilinear"] = "random"


@dataclass(frozen=True)
class Op:
    """The base class of all operations. It is itself the identity.

    A subclass is a frozen dataclass that overrides what differs. Arrays are channels-last, (N, *spatial, C); parameters
    have PyTorch's names and shapes. Sizes and positions are in pixels along one spatial axis, `axis` counts from 0.

    Attributes:
        kind: the operation's name in tables and in the weight map.
        optional_parameters: tensors that the weight map lists for this kind and that a layer may lack, such as a bias.
        convolution: it multiplies by a trained kernel. Such layers are counted; a precision quantises them or, by name,
            leaves them in float32.
        output_axis: axis of the output channels in the kernel.
        bounded: an output depends on a limited part of the image; False for a norm or a mean over space.
        rowwise: `unet_spec.tiling.strips` can compute it a few rows at a time.
        zero_padded: positions outside of the map that `input_intervals` names are zeros. Other operations clamp.
        in_place: a runtime fuses it with the operation before it, or overwrites its input.
        view: its output is a part of its input, which some runtimes do not copy.
        float32: it is computed and stored in float32 in every precision.
        scaling: names of the tensors to multiply by a number so that the output is multiplied by it; empty if that does
            not hold.
        homogeneous: the inputs ("all" or the "first") to multiply by a positive number so that the output is multiplied
            by it; "none" if that does not hold.

    Example:
        >>> from unet_spec.ops import Conv
        >>> conv = Conv(1, 64, kernel=(3, 3), stride=(1, 1), padding=(0, 0))
        >>> {name: param.shape for name, param in conv.parameters().items()}
        {'weight': (64, 1, 3, 3), 'bias': (64,)}
        >>> conv.output_size(0, 572), conv.input_intervals(0, (0, 10), 572), conv.macs(572**2, 570**2)
        (570, ((0, 12),), 187142400)
    """

    kind: ClassVar[str] = "identity"
    optional_parameters: ClassVar[frozenset[str]] = frozenset()
    convolution: ClassVar[bool] = False
    output_axis: ClassVar[int] = 0
    bounded: ClassVar[bool] = True
    rowwise: ClassVar[bool] = False
    zero_padded: ClassVar[bool] = False
    in_place: ClassVar[bool] = False
    view: ClassVar[bool] = False
    float32: ClassVar[bool] = False
    scaling: ClassVar[tuple[str, ...]] = ()
    homogeneous: ClassVar[Literal["none", "first", "all"]] = "none"

    @property
    def shift_invariant(self) -> bool:
        """Whether a window of the map gives the same values as the whole map, away from the window's edges."""
        return self.bounded

    def parameters(self) -> dict[str, Param]:
        """The operation's tensors by name, in PyTorch's order."""
        return {}

    def channels(self, *inputs: int) -> int:
        """Channels of the output, from those of each input. Raises ValueError if they do not fit together."""
        return inputs[0]

    def output_size(self, axis: int, *sizes: int) -> int:
        """Size of the output, from that of each input. Raises SizeError if they do not fit."""
        return sizes[0]

    def downsampling(self, axis: int) -> int:
        """Pixels of the input for one of the output; 1 where the output is larger."""
        return 1

    def macs(self, inputs: int, outputs: int) -> int:
        """Multiply-adds for one image, from the number of input and output positions (products of the sizes)."""
        return 0

    def input_intervals(self, axis: int, output: Interval, *sizes: int) -> tuple[Interval, ...]:
        """For each input (of the given size), the interval from which `output` is computed; not clipped."""
        return (output,) * len(sizes)

    def leading_outputs(self, axis: int, first: int, first_input: int) -> int:
        """Number of outputs before `first` that are also computed if the input begins at `first_input`."""
        return 0

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        """The output (N, *spatial, C) for arrays (N, *spatial, C), in their dtype.

        `params` has the entries of `parameters()`; in training, dropout also takes its "mask" (1 = kept) from there.
        """
        return inputs[0]

    def summary(self) -> str:
        """The attributes in a few characters, for tables."""
        return ""


@dataclass(frozen=True)
class Node:
    """An operation with the name of its layer, which is the module's path in both twins.

    Attributes:
        name: dotted path; parameters are called `name.weight`, `name.bias`, ...
        op: the operation with its attributes.
        inputs: the names of the nodes whose outputs it takes.

    Example:
        >>> from unet_spec import preset
        >>> preset("paper").graph["decoder.0.concat"].inputs
        ('decoder.0.crop', 'decoder.0.up')
    """

    name: str
    op: Op
    inputs: tuple[str, ...]

    @property
    def is_input(self) -> bool:
        """Whether the node is an input: the image, or a further input."""
        return not self.inputs

    def select(self, tensors: Mapping[str, Value]) -> dict[str, Value]:
        """The node's tensors, from those of the network, as "weight", "bias", ..."""
        return {key: tensors[f"{self.name}.{key}"] for key in self.op.parameters()}


def per_axis(values: tuple[int, ...]) -> str:
    """(3, 3) as "3x3"."""
    return "x".join(map(str, values))
