"""The networks that the battery runs on. A new preset or architecture joins by one line."""

from __future__ import annotations

from dataclasses import dataclass

from unet_spec import PRESETS, UNetConfig


@dataclass(frozen=True)
class Case:
    """A network and how much is asked of it.

    Attributes:
        name: of the case.
        config: of the network. Narrow, but for the "full" ones: what can be wrong does not depend on the width.
        core: whether the checks that are too slow for every case run on it by default.
        trains: whether it is trained by default.
        slow: whether it is left out by default altogether.
        only: names of the only checks that run on it; empty: all.
        extra: steps of the size grid that its image is larger than the least on the first axis; one more on each next.
    """

    name: str
    config: UNetConfig
    core: bool = False
    trains: bool = False
    slow: bool = False
    only: tuple[str, ...] = ()
    extra: int = 1


_PAPER = PRESETS["paper"].replace(widths=(3, 5), dropout=0.0)
_SAME = PRESETS["same"].replace(widths=(4, 6), norm="none", conv_bias=True)
_HALF_PIXEL = _SAME.replace(upsampling="bilinear", align_corners=False)
_FULL = ("mapping.bijection", "mapping.checkpoint", "forward.eval", "onnx.ours")

CASES: dict[str, Case] = {
    case.name: case
    for case in (
        Case("paper", PRESETS["paper"].replace(widths=(4, 6, 8)), core=True),
        Case("article", PRESETS["article"].replace(widths=(3, 4, 7))),
        Case("article-bilinear", PRESETS["article-bilinear"].replace(widths=(4, 6, 8))),
        Case("same", PRESETS["same"].replace(widths=(3, 5, 7))),
        Case("same-bilinear", PRESETS["same-bilinear"].replace(widths=(4, 6, 8), in_channels=3, out_channels=3)),
        # As many channels in as out in every layer: no shape betrays axes that were swapped.
        Case("equal-widths", _PAPER.replace(widths=(5, 5), in_channels=5, out_channels=5)),
        # The up-convolution's bias has no effect here: it passes crop and valid convolution into the batch norm.
        Case("crop-batch", _PAPER.replace(norm="batch", norm_momentum=0.3, norm_eps=1e-3), core=True, trains=True),
        Case("pad-none", _PAPER.replace(merge="pad")),
        Case("group-elu", _SAME.replace(norm="group", norm_groups=2, activation="elu")),
        Case("instance-leaky-relu", _SAME.replace(norm="instance", norm_eps=1e-3, activation="leaky_relu")),
        Case("valid-instance", _PAPER.replace(norm="instance", conv_bias=False)),
        Case("gelu", _SAME.replace(activation="gelu", dropout=0.3)),
        Case(
            "half-pixel-silu", _SAME.replace(upsampling="bilinear", align_corners=False, activation="silu"), trains=True
        ),
        Case("crop-half-pixel", _PAPER.replace(upsampling="bilinear", align_corners=False, norm="batch")),
        Case("3d-valid", _PAPER.replace(widths=(2, 3), spatial_dims=3), extra=0),
        Case("3d-same", PRESETS["same"].replace(widths=(2, 3, 4), spatial_dims=3)),
        Case("3d-trilinear", _SAME.replace(widths=(2, 3), spatial_dims=3, upsampling="bilinear", norm="instance")),
        Case("paper-full", PRESETS["paper"], slow=True, only=_FULL, extra=0),
        Case("article-full", PRESETS["article"], slow=True, only=_FULL, extra=0),
        Case("article-bilinear-full", PRESETS["article-bilinear"], slow=True, only=_FULL, extra=0),
        Case("same-full", PRESETS["same"], slow=True, only=_FULL, extra=3),
        Case("same-bilinear-full", PRESETS["same-bilinear"], slow=True, only=_FULL, extra=3),
        Case("3d-same-full", PRESETS["same"].replace(spatial_dims=3, widths=(32, 64, 128, 256)), slow=True, only=_FULL),
    )
}
