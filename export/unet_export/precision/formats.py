"""Number formats of deployed networks, and their use in one file.

| precision | activations        | products of              | built for compute capability |
|-----------|--------------------|--------------------------|------------------------------|
| fp32      | float32            | float32                  | any                          |
| tf32      | float32            | float32 of 10 bits       | 8.0 and later                |
| fp16      | float16            | float16, float32 sums    | any                          |
| bf16      | bfloat16           | bfloat16, float32 sums   | 8.0 and later                |
| int8      | float32            | int8, a scale per tensor (activations) and per channel (weights) | any |
| fp8       | float32            | float8 E4M3, scaled alike | 8.9 and later               |

The unit that can stay in float32 is a convolution with its epilogue: all operations up to the next convolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from unet_spec import Graph, InputError
from unet_spec.ops import ConvTranspose

from ..onnx.lowering import Lowered, lower

Precision = Literal["fp32", "tf32", "fp16", "bf16", "int8", "fp8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
HALF: dict[str, str] = {"fp16": "float16", "bf16": "bfloat16"}
QUANTIZED: dict[str, float] = {"int8": 127.0, "fp8": 448.0}
"""The largest value of the format, to which the end of a range is mapped."""
MINIMUM_CAPABILITY: dict[str, int] = {"tf32": 80, "bf16": 80, "fp8": 89}
"""The lowest compute capability whose hardware supports the type."""
AGREEMENT: dict[str, float] = {"fp32": 0.9999, "tf32": 0.999, "fp16": 0.999, "bf16": 0.999, "int8": 0.995, "fp8": 0.99}
"""The minimum share of pixels whose label equals that of the float64 reference."""


@dataclass(frozen=True)
class PrecisionRecipe:
    """The number formats in which a deployed file computes.

    Attributes:
        precision: Precision of its convolutions and their epilogues.
        kept: Names of the convolutions that stay in float32 with their epilogues, to keep the result accurate.
        ranges: For int8 and fp8, the largest representable magnitude of each convolution's input; larger values
            saturate.

    Raises:
        InputError: For an unknown precision, and if `kept` is given for fp32 or tf32.

    Example:
        >>> from unet_export import PrecisionRecipe
        >>> PrecisionRecipe("fp16", kept=("head",)).to_dict()
        {'precision': 'fp16', 'kept_float32': ['head'], 'ranges': {}}
    """

    precision: Precision = "fp32"
    kept: tuple[str, ...] = ()
    ranges: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InputError(f"unknown precision {self.precision!r}; allowed: {', '.join(PRECISIONS)}")
        if self.kept and self.precision in ("fp32", "tf32"):
            raise InputError(f"{self.precision} applies to the whole network; no layer can be excluded")

    def check(self, graph: Graph) -> None:
        """Raises InputError unless `kept` and `ranges` name convolutions of a (lowered) graph."""
        known = convolutions(graph)
        if unknown := [name for name in self.kept if name not in known]:
            raise InputError(f"cannot keep {unknown[0]!r} in float32: the convolutions are {', '.join(known)}")
        if self.precision not in QUANTIZED:
            return
        for name in known:
            if name not in self.kept and not (np.isfinite(self.ranges.get(name, 0)) and self.ranges.get(name, 0) > 0):
                raise InputError(
                    f"{self.precision} needs the range of the input of {name}; calibrate on representative images "
                    f"(found {self.ranges.get(name)!r})"
                )

    def to_dict(self) -> dict[str, Any]:
        """The entry in the ONNX file's metadata."""
        ranges = {name: float(value) for name, value in self.ranges.items()}
        return {"precision": self.precision, "kept_float32": list(self.kept), "ranges": ranges}

    @classmethod
    def from_dict(cls, values: Any, where: str) -> PrecisionRecipe:
        """The inverse of `to_dict`. Raises InputError."""
        try:
            return cls(values["precision"], tuple(values["kept_float32"]), dict(values["ranges"]))
        except (TypeError, KeyError, ValueError) as e:
            raise InputError(f"{where}: not the recipe of a precision ({type(e).__name__}: {e})") from None


def lower_for(precision: Precision, graph: Graph, tensors: Mapping[str, np.ndarray]) -> Lowered:
    """Lowers a network for a file of the given precision.

    fp32 and tf32 keep the trained network; the others fold its batch norms. TensorRT does not support transposed
    convolutions in bfloat16 (tested with TensorRT for RTX 1.7.1), so in 2-D, bf16 splits them into a 1x1 convolution
    and a rearrangement.

    Args:
        precision: One of `PRECISIONS`.
        graph: The network.
        tensors: Weights with PyTorch's names and axis orders.

    Returns:
        A graph and its tensors: the same function in real arithmetic.

    Example:
        >>> from unet_export import lower_for
        >>> from unet_spec import preset, random_tensors
        >>> graph = preset("same", widths=(4, 8)).graph
        >>> lowered = lower_for("fp16", graph, random_tensors(graph, 0))
        >>> [sum(node.op.kind == "batch_norm" for node in g) for g in (graph, lowered.graph)]
        [6, 0]
    """
    if precision in ("fp32", "tf32"):
        return Lowered(graph.inference, tensors)
    return lower(graph.inference, tensors, split_transposed=precision == "bf16")


def convolutions(graph: Graph) -> tuple[str, ...]:
    """Names of the convolutions, including transposed ones, in the order of execution."""
    return tuple(node.name for node in graph if node.op.convolution)


def kept_for_builder(graph: Graph, precision: Precision) -> tuple[str, ...]:
    """Convolutions that no builder supports in this precision: in bf16, the transposed ones of a 3-D network, which
    cannot be split (ONNX's DepthToSpace is 2-D)."""
    if precision != "bf16":
        return ()
    return tuple(node.name for node in graph if isinstance(node.op, ConvTranspose))


def storage(graph: Graph, recipe: PrecisionRecipe) -> dict[str, str]:
    """The dtype of every node's output: "float32", "float16" or "bfloat16".

    A node has the dtype of the convolution whose epilogue it belongs to; a concatenation is float32 if one of its
    inputs is. A norm over the image sums up to a million squares, so it is always computed and stored in float32.
    """
    half = HALF.get(recipe.precision, "float32")
    exempt = {*recipe.kept, *kept_for_builder(graph, recipe.precision)}
    kinds: dict[str, str] = {}  # dtype of the convolution that precedes a node
    stored: dict[str, str] = {}
    for node in graph:
        if node.op.convolution:
            kind = "float32" if node.name in exempt else half
        elif node.is_input:
            kind = "float32"
        else:
            kind = "float32" if any(kinds[i] == "float32" for i in node.inputs) else half
        kinds[node.name] = kind
        stored[node.name] = "float32" if node.op.float32 else kind
    return stored


def quantized(graph: Graph, recipe: PrecisionRecipe) -> frozenset[str]:
    """The convolutions that are computed in int8 or fp8."""
    return frozenset(convolutions(graph)) - set(recipe.kept) if recipe.precision in QUANTIZED else frozenset()


def capabilities_for(precision: str, capabilities: tuple[str, ...]) -> tuple[str, ...]:
    """The `capabilities` whose hardware supports the precision."""
    return tuple(c for c in capabilities if int(c) >= MINIMUM_CAPABILITY.get(precision, 0))
