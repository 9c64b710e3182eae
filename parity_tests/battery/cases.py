"""The networks of the battery: the test configs of every family, and more U-Nets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from unet_spec import FAMILIES, Family, NetworkConfig
from unet_spec.families.ensemble import EnsembleConfig
from unet_spec.families.unet import PRESETS


@dataclass(frozen=True)
class Case:
    """A network, and the checks that it must pass.

    Attributes:
        name: name of the case.
        config: config of the network. It is narrow, except in the tier "full", since bugs do not depend on the width.
        tier: which checks run on it, by default and with `-m slow`; a column of `run.PLAN`:
            "core": everything but training by default.
            "trained": everything by default, including training.
            "narrow": another U-Net; slow checks run with `-m slow`.
            "family": the first network of its architecture; all checks, most of them with `-m slow`.
            "variant": another network of an architecture; the comparison of its ONNX graph by default.
            "full": a preset at full width; a few checks, with `-m slow`.
            "converted": the first network of an architecture of other projects, whose weights are converted: as a
                family, but nothing is trained.
        extra: number of grid steps that the first axis of its image has above the minimum; each further axis has one
            more.
    """

    name: str
    config: NetworkConfig
    tier: str = "narrow"
    extra: int = 1


CONVERTED = ("staged-unet", "monai-unet", "resnet-unet")
_PAPER = PRESETS["paper"].replace(widths=(3, 5), dropout=0.0)
_SAME = PRESETS["same"].replace(widths=(4, 6), norm="none", conv_bias=True)


def _cases(family: Family) -> Iterator[Case]:
    """The networks of `Family.tests`. The first one represents its architecture."""
    first, others = ("core", "narrow") if family.config.architecture == "unet" else ("family", "variant")
    if family.config.architecture in CONVERTED:
        first = "converted"
    for i, (name, config) in enumerate(family.tests.items()):
        grid = config.geometry.grid()
        extra = max(1, -(-(family.test_size - grid.minimum) // grid.step))
        yield Case(name, config, others if i else first, extra)


CASES: dict[str, Case] = {
    case.name: case
    for case in (
        *(case for family in FAMILIES.values() for case in _cases(family)),
        # Equal numbers of input and output channels in every layer, so that shapes do not reveal swapped axes.
        Case("equal-widths", _PAPER.replace(widths=(5, 5), in_channels=5, out_channels=5)),
        # The up-convolution's bias has no effect here, since it reaches a batch norm through crop and valid
        # convolution.
        Case("crop-batch", _PAPER.replace(norm="batch", norm_momentum=0.3, norm_eps=1e-3), "trained"),
        Case("pad-none", _PAPER.replace(merge="pad")),
        Case("group-elu", _SAME.replace(norm="group", norm_groups=2, activation="elu")),
        Case("instance-leaky-relu", _SAME.replace(norm="instance", norm_eps=1e-3, activation="leaky_relu")),
        Case("valid-instance", _PAPER.replace(norm="instance", conv_bias=False)),
        Case("gelu", _SAME.replace(activation="gelu", dropout=0.3)),
        Case(
            "half-pixel-silu", _SAME.replace(upsampling="bilinear", align_corners=False, activation="silu"), "trained"
        ),
        Case("crop-half-pixel", _PAPER.replace(upsampling="bilinear", align_corners=False, norm="batch")),
        Case("3d-valid", _PAPER.replace(widths=(2, 3), spatial_dims=3), extra=0),
        Case("3d-same", PRESETS["same"].replace(widths=(2, 3, 4), spatial_dims=3)),
        Case("3d-trilinear", _SAME.replace(widths=(2, 3), spatial_dims=3, upsampling="bilinear", norm="instance")),
        Case("distance", _PAPER.replace(norm="batch", out_channels=3, distance_head=True), "variant"),
        Case(
            "ensemble-valid",
            EnsembleConfig.of(PRESETS["paper"].replace(widths=(3, 4), in_channels=2, out_channels=1), 3),
            "variant",
        ),
        Case(
            "ensemble-overlapping",
            EnsembleConfig.of(PRESETS["same"].replace(widths=(2, 3), out_channels=3), 2, overlapping=True),
            "variant",
        ),
        Case("paper-full", PRESETS["paper"], "full", extra=0),
        Case("article-full", PRESETS["article"], "full", extra=0),
        Case("article-bilinear-full", PRESETS["article-bilinear"], "full", extra=0),
        Case("same-full", PRESETS["same"], "full", extra=3),
        Case("same-bilinear-full", PRESETS["same-bilinear"], "full", extra=3),
        Case("3d-same-full", PRESETS["same"].replace(spatial_dims=3, widths=(32, 64, 128, 256)), "full"),
    )
}
"""All cases by name."""


def one_of_each() -> list[str]:
    """Narrow cases of the U-Net's presets, one case with crop and batch norm, and one of every other architecture."""
    return [
        name for name, case in CASES.items() if case.tier in ("family", "converted") or name in (*PRESETS, "crop-batch")
    ]
