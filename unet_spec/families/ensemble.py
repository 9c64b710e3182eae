"""An ensemble (Lakshminarayanan et al. 2017, arXiv 1612.01474): the mean of several networks' probabilities.

    image ─┬▶ scales.0 ─▶ members.0 ─┐
           ├▶ scales.1 ─▶ members.1 ─┼▶ mean ─▶ head ─▶ logits
           └▶ scales.2 ─▶ members.2 ─┘

    scales   weight · x + bias per channel: converts the ensemble's normalisation of images to the member's
    members  n networks of the same config, with different weights
    mean     log((1 / n) Σ softmax(logits)); for one logit and for overlapping classes, logit((1 / n) Σ sigmoid(logits))
    head     weight · x + bias per channel, by default 1 and 0, for the ensemble's temperature

The softmax (or sigmoid) of the output is the mean of the members' probabilities. `unet ensemble` makes an ensemble from
checkpoints, such as the folds of a cross-validation. It needs n times a member's operations but only a member's memory,
since the members run one after the other.

Difference from the paper: if an ensemble is trained as a whole, the loss is that of the mean probability. The paper
trains members separately; `unet ensemble` joins such members.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from ..errors import InputError
from ..graph import Graph
from ..network import Family, NetworkConfig, require
from ..ops import Input, LatentInput, MeanProbability, ScaleShift
from .builder import Builder
from .unet import PRESETS

MAX_MEMBERS = 64


@dataclass(frozen=True)
class EnsembleConfig(NetworkConfig, architecture="ensemble"):
    """An ensemble of networks of one config.

    `replace` also accepts the member's fields: `replace(widths=(8, 16))` is an ensemble of narrower members.

    Attributes:
        in_channels, out_channels, spatial_dims: the member's.
        members: number of networks.
        member: the config of each member.
        overlapping: whether a pixel may have several classes, so that sigmoids are averaged instead of softmaxes.

    Example:
        >>> from unet_spec import preset
        >>> config = EnsembleConfig.of(preset("same", widths=(4, 8)), 3)
        >>> config.member.widths, config.graph.output.op.kind, config.replace(out_channels=5).member.out_channels
        ((4, 8), 'scale_shift', 5)
    """

    in_channels: int = PRESETS["same"].in_channels
    out_channels: int = PRESETS["same"].out_channels
    spatial_dims: int = PRESETS["same"].spatial_dims
    members: int = 5
    member: NetworkConfig = PRESETS["same"]
    overlapping: bool = False

    @classmethod
    def of(cls, member: NetworkConfig, members: int, overlapping: bool = False) -> Self:
        """The ensemble of `members` networks of a config. Raises InputError."""
        return cls(member.in_channels, member.out_channels, member.spatial_dims, members, member, overlapping)

    def validate(self) -> None:
        require(1 <= self.members <= MAX_MEMBERS, "members", self.members, f"1 to {MAX_MEMBERS}")
        for name in ("in_channels", "out_channels", "spatial_dims"):
            own = getattr(self.member, name)
            require(getattr(self, name) == own, name, getattr(self, name), f"the member's, {own}")
        kind = self.member.architecture
        require(kind != self.architecture, "member", "an ensemble", "a network that is not an ensemble")
        require(
            not self.member.distance_head, "member", "a network that predicts a distance", "one without distance_head"
        )
        latent = any(isinstance(node.op, LatentInput) for node in self.member.graph)
        require(
            not latent, "member", f"a {kind}, which samples segmentations", "a network with one segmentation per image"
        )

    def replace(self, **changes: Any) -> Self:
        """A copy with other values, of the ensemble or of its member. Raises InputError as the constructor does."""
        own = [field.name for field in dataclasses.fields(self)]
        shared = ("in_channels", "out_channels", "spatial_dims")
        member = changes.pop("member", self.member)
        inner = {name: value for name, value in changes.items() if name not in own or name in shared}
        if inner:
            member = member.replace(**inner)
        shapes = {name: getattr(member, name) for name in shared}
        outer = {name: value for name, value in changes.items() if name in own and name not in shared}
        return dataclasses.replace(self, member=member, **shapes, **outer)

    def check_classes(self, overlapping: bool) -> None:
        if self.out_channels > 1 and overlapping != self.overlapping:
            mean, needed = ("sigmoid", "softmax") if self.overlapping else ("softmax", "sigmoid")
            raise InputError(
                f"this ensemble takes the mean of each {mean} (overlapping is {str(self.overlapping).lower()}), these "
                f"classes need the {needed}"
            )

    def build(self) -> Graph:
        return build(self)


def build(config: EnsembleConfig) -> Graph:
    image = config.member.graph.input.op
    assert isinstance(image, Input)
    b = Builder(config.in_channels, config.spatial_dims, image.multiple)
    joined = [_member(b, config, i) for i in range(config.members)]
    function = "sigmoid" if config.overlapping or config.out_channels == 1 else "softmax"
    x = b.add("mean", MeanProbability(function), *joined)
    b.add("head", ScaleShift(config.out_channels), x)
    return b.graph()


def _member(b: Builder, config: EnsembleConfig, number: int) -> str:
    """Adds the graph of one member, with names that begin with "members.<number>.". Returns its output's name."""
    graph, prefix = config.member.graph, f"members.{number}."
    image = b.add(f"scales.{number}", ScaleShift(config.in_channels), "input")
    names = {graph.input.name: image}
    for node in graph.nodes[1:]:
        names[node.name] = prefix + node.name
        b.add(names[node.name], node.op, *(names[i] for i in node.inputs))
    return names[graph.output.name]


FAMILY = Family(
    EnsembleConfig,
    when="The best scores and well calibrated probabilities, at several times the cost; typically the "
    "folds of a cross-validation.",
    image_size=512,
    presets={"ensemble": EnsembleConfig()},
    narrow={"ensemble": EnsembleConfig.of(PRESETS["same"].replace(widths=(8, 16, 32)), 3)},
    tests={
        "ensemble": EnsembleConfig.of(PRESETS["same"].replace(widths=(3, 4)), 2),
        "ensemble-3d": EnsembleConfig.of(PRESETS["same"].replace(widths=(2, 3), spatial_dims=3), 2),
    },
)
