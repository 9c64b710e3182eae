"""The number formats that a network is deployed in, and the recipe of one deployed file.

| precision | activations        | products of              | built for compute capability |
|-----------|--------------------|--------------------------|------------------------------|
| fp32      | float32            | float32                  | any                          |
| tf32      | float32            | float32 of 10 bits       | 8.0 and later                |
| fp16      | float16            | float16, float32 sums    | any                          |
| bf16      | bfloat16           | bfloat16, float32 sums   | 8.0 and later                |
| int8      | float32            | int8, a scale per tensor (activations) and per channel (weights) | any |
| fp8       | float32            | float8 E4M3, scaled alike | 8.9 and later               |

A *unit* is a convolution with all that follows it up to the next one. It is what can be kept in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from unet_spec import Graph, InputError
from unet_spec.ops import Conv, ConvTranspose, GroupNorm, Input, InstanceNorm

from .lowering import Lowered, lower

Precision = Literal["fp32", "tf32", "fp16", "bf16", "int8", "fp8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
HALF: dict[str, str] = {"fp16": "float16", "bf16": "bfloat16"}
QUANTIZED: dict[str, float] = {"int8": 127.0, "fp8": 448.0}
"""The largest value of the format, which a range is mapped to."""
LEAST_CAPABILITY: dict[str, int] = {"tf32": 80, "bf16": 80, "fp8": 89}
"""The least compute capability whose hardware has the type."""
AGREEMENT: dict[str, float] = {"fp32": 0.9999, "tf32": 0.999, "fp16": 0.999, "bf16": 0.999, "int8": 0.995, "fp8": 0.99}
"""The share of pixels that must get the same label as from the float64 reference, by the best judge at hand."""


@dataclass(frozen=True)
class Recipe:
    """How one deployed file computes.

    Attributes:
        precision: of its units.
        kept: units that stay in float32, because measurement said so.
        ranges: for int8 and fp8, the largest magnitude of each unit's input that is represented; larger ones saturate.
    """

    precision: Precision = "fp32"
    kept: tuple[str, ...] = ()
    ranges: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(f"unknown precision {self.precision!r}; allowed: {', '.join(PRECISIONS)}")
        if self.kept and self.precision in ("fp32", "tf32"):
            raise InputError(f"{self.precision} is one setting for the whole network; no layer can be kept out of it")

    def check(self, graph: Graph) -> None:
        """Raises InputError unless `kept` and `ranges` name the units of a (lowered) graph."""
        known = units(graph)
        if unknown := [name for name in self.kept if name not in known]:
            raise InputError(f"cannot keep {unknown[0]!r} in float32: no unit of this network; there are {known}")
        if self.precision not in QUANTIZED:
            return
        for name in known:
            if name not in self.kept and not (np.isfinite(self.ranges.get(name, 0)) and self.ranges.get(name, 0) > 0):
                raise InputError(
                    f"{self.precision} needs the range of what enters {name}; calibrate on images of the kind to be"
                    f" segmented (found {self.ranges.get(name)!r})"
                )

    def to_dict(self) -> dict[str, Any]:
        ranges = {name: float(value) for name, value in self.ranges.items()}
        return {"precision": self.precision, "kept_float32": list(self.kept), "ranges": ranges}

    @classmethod
    def from_dict(cls, values: Any, where: str) -> Recipe:
        """The inverse of `to_dict`. Raises InputError."""
        try:
            return cls(values["precision"], tuple(values["kept_float32"]), dict(values["ranges"]))
        except (TypeError, KeyError, ValueError) as e:
            raise InputError(f"{where}: not the recipe of a precision ({type(e).__name__}: {e})") from None


def lower_for(precision: Precision, graph: Graph, tensors: Mapping[str, np.ndarray]) -> Lowered:
    """What of the network inference needs, as a file of this precision states it. float32 is left as it was trained.
    Of the formats, only bfloat16 has no transposed convolution in TensorRT (measured with TensorRT for RTX 1.7.1)."""
    if precision in ("fp32", "tf32"):
        return Lowered(graph.inference, tensors)
    return lower(graph.inference, tensors, split_transposed=precision == "bf16")


def units(graph: Graph) -> tuple[str, ...]:
    """The names of the convolutions, transposed ones included, in the order in which they run."""
    return tuple(node.name for node in graph if isinstance(node.op, Conv | ConvTranspose))


def kept_for_builder(graph: Graph, precision: Precision) -> tuple[str, ...]:
    """Units that no builder takes in this precision: in bf16, the transposed convolutions of a 3-D network, which ONNX
    cannot rearrange (DepthToSpace is 2-D)."""
    if precision != "bf16":
        return ()
    return tuple(node.name for node in graph if isinstance(node.op, ConvTranspose))


def storage(graph: Graph, recipe: Recipe) -> dict[str, str]:
    """The dtype of every node's output: "float32", "float16" or "bfloat16".

    A node takes its dtype from the unit that it belongs to; a concatenation is float32 where one of its inputs is. A
    norm over the image sums up to a million squares and is always computed and stored in float32.
    """
    half = HALF.get(recipe.precision, "float32")
    exempt = {*recipe.kept, *kept_for_builder(graph, recipe.precision)}
    unit_type: dict[str, str] = {}  # of the unit that a node's output came from
    stored: dict[str, str] = {}
    for node in graph:
        if isinstance(node.op, Conv | ConvTranspose):
            kind = "float32" if node.name in exempt else half
        elif isinstance(node.op, Input):
            kind = "float32"
        else:
            kind = "float32" if any(unit_type[i] == "float32" for i in node.inputs) else half
        unit_type[node.name] = kind
        stored[node.name] = "float32" if isinstance(node.op, InstanceNorm | GroupNorm) else kind
    return stored


def quantized(graph: Graph, recipe: Recipe) -> frozenset[str]:
    """The units whose products are of int8 or fp8."""
    return frozenset(units(graph)) - set(recipe.kept) if recipe.precision in QUANTIZED else frozenset()


def capabilities_for(precision: str, capabilities: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `capabilities` whose hardware has the precision."""
    return tuple(c for c in capabilities if int(c) >= LEAST_CAPABILITY.get(precision, 0))
