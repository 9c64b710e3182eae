"""What a U-Net is, as a frozen dataclass that becomes config.json; and the presets."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from unet_spec.errors import InputError
from unet_spec.ops import ACTIVATIONS

if TYPE_CHECKING:
    from unet_spec.geometry import Geometry
    from unet_spec.graph import Graph

Padding = Literal["valid", "same"]
Merge = Literal["crop", "pad"]
Upsampling = Literal["transposed", "bilinear"]
Norm = Literal["none", "batch", "group", "instance"]
ActivationName = Literal["relu", "leaky_relu", "elu", "gelu", "silu"]


@dataclass(frozen=True)
class UNetConfig:
    """A U-Net after Ronneberger, Fischer and Brox 2015 (arXiv 1505.04597) and its common variants.

    Attributes:
        in_channels: channels of the image.
        out_channels: channels of the logits. One channel is the logit of class 1 against class 0; K > 1 are K classes.
        widths: feature maps per level, from the finest to the bottleneck; n levels pool n − 1 times.
        spatial_dims: 2 for images, 3 for volumes.
        padding: of the 3x3 convolutions: "valid" (none: the output is smaller) or "same" (one zero a side).
        merge: where skip and upsampled map differ in size, "crop" the skip (the paper) or zero-"pad" the upsampled map.
        upsampling: "transposed" (2x2, stride 2) or "bilinear" (interpolation; the block before it narrows instead).
        align_corners: of the bilinear interpolation. True is what PyTorch users have; only False can be tiled exactly.
        norm: after each 3x3 convolution: "none", "batch", "group" (norm_groups groups) or "instance".
        norm_groups: groups of the group norm; must divide every width.
        norm_eps: added to the variance.
        norm_momentum: share of the new batch in the running statistics (PyTorch's convention; Flax's is 1 − this).
        conv_bias: whether the 3x3 convolutions have a bias. Up-convolutions and the head always have one.
        activation: "relu", "leaky_relu" (slope 0.01), "elu", "gelu" (exact) or "silu".
        dropout: rate at the end of the contracting path (after its two deepest blocks, as in the authors' release).

    Raises InputError for any other value.
    """

    in_channels: int = 1
    out_channels: int = 2
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    spatial_dims: int = 2
    padding: Padding = "valid"
    merge: Merge = "crop"
    upsampling: Upsampling = "transposed"
    align_corners: bool = True
    norm: Norm = "none"
    norm_groups: int = 8
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1
    conv_bias: bool = True
    activation: ActivationName = "relu"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.widths, list):
            object.__setattr__(self, "widths", tuple(self.widths))
        for name, hint in get_type_hints(type(self)).items():
            _check_type(name, getattr(self, name), hint)
        for name in ("in_channels", "out_channels", "norm_groups"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        _require(len(self.widths) >= 2, "widths", self.widths, "two levels or more, such as 64 128 256")
        _require(all(w >= 1 for w in self.widths), "widths", self.widths, "at least 1 at every level")
        _require(self.spatial_dims in (2, 3), "spatial_dims", self.spatial_dims, "2 or 3")
        _require(0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")
        _require(self.norm_eps > 0, "norm_eps", self.norm_eps, "above 0")
        _require(0 < self.norm_momentum <= 1, "norm_momentum", self.norm_momentum, "in (0, 1]")
        if self.norm == "group":
            odd = [w for w in self.widths if w % self.norm_groups]
            _require(not odd, "norm_groups", self.norm_groups, f"a divisor of every width; {odd} are not divisible")

    @property
    def classes(self) -> int:
        """Number of classes that the logits tell apart: 2 for a single channel."""
        return max(self.out_channels, 2)

    @cached_property
    def graph(self) -> Graph:
        """The layer graph: the executable specification of this network."""
        from unet_spec.unet import build

        return build(self)

    @cached_property
    def geometry(self) -> Geometry:
        """Sizes that fit, margins, receptive field."""
        from unet_spec.geometry import Geometry

        return Geometry(self.graph)

    def replace(self, **changes: Any) -> UNetConfig:
        """A copy with other values. Raises InputError as the constructor does."""
        _check_keys(changes, "UNetConfig")
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: `architecture` first, tuples as lists."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"architecture": "unet"} | {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: Any, where: str = "config") -> UNetConfig:
        """The inverse of `to_dict`; absent keys take their defaults. Raises InputError (unknown keys, wrong types)."""
        if not isinstance(values, dict):
            raise InputError(f"{where}: a config is a JSON object, not {type(values).__name__}")
        values = dict(values)
        if (name := values.pop("architecture", "unet")) != "unet":
            raise InputError(f"{where}: unknown architecture {name!r}; allowed: 'unet'")
        _check_keys(values, where)
        try:
            return cls(**values)
        except InputError as e:
            raise InputError(f"{where}: {e}") from None

    @classmethod
    def from_json(cls, text: str, where: str = "config") -> UNetConfig:
        """The inverse of `to_json`. Raises InputError also where the text is no JSON."""
        try:
            values = json.loads(text)
        except ValueError as e:
            raise InputError(f"{where}: not valid JSON ({e})") from None
        return cls.from_dict(values, where)


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise InputError(f"{name} is {value}; it must be {allowed}")


def _check_keys(values: dict[str, Any], where: str) -> None:
    known = [f.name for f in dataclasses.fields(UNetConfig)]
    if unknown := [key for key in values if key not in known]:
        raise InputError(f"{where}: unknown key {', '.join(map(repr, unknown))}; known: {', '.join(known)}")


def _check_type(name: str, value: object, hint: Any) -> None:
    """The handful of types that the config uses: int, float, bool, tuple of int, Literal."""
    if get_origin(hint) is Literal:
        _require(value in get_args(hint), name, repr(value), " or ".join(map(repr, get_args(hint))))
    elif get_origin(hint) is tuple:
        fits = isinstance(value, tuple) and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
        _require(fits, name, repr(value), "a sequence of whole numbers")
    elif hint is float:
        _require(isinstance(value, int | float) and not isinstance(value, bool), name, repr(value), "a number")
    elif hint is int:
        _require(isinstance(value, int) and not isinstance(value, bool), name, repr(value), "a whole number")
    elif hint is bool:
        _require(isinstance(value, bool), name, repr(value), "true or false")


assert set(get_args(ActivationName)) == set(ACTIVATIONS)

PRESETS: dict[str, UNetConfig] = {
    # Figure 1 of the paper, with dropout at the end of the contracting path.
    "paper": UNetConfig(dropout=0.5),
    # The article's network: valid, batch norm after biased convolutions, upsampled map padded to the skip's size.
    "article": UNetConfig(merge="pad", norm="batch", out_channels=1),
    # Its bilinear branch, which does not run as printed, done right.
    "article-bilinear": UNetConfig(merge="pad", norm="batch", out_channels=1, upsampling="bilinear"),
    # What most PyTorch users have: same padding, batch norm, no bias before it.
    "same": UNetConfig(padding="same", merge="pad", norm="batch", conv_bias=False),
    "same-bilinear": UNetConfig(padding="same", merge="pad", norm="batch", conv_bias=False, upsampling="bilinear"),
}


def preset(name: str, **changes: Any) -> UNetConfig:
    """The preset called `name`, with `changes`. Raises InputError for an unknown name, key or value."""
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name].replace(**changes)
