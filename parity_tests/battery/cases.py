"""The networks that the battery runs on. A new preset or architecture joins by one line."""

from __future__ import annotations

from dataclasses import dataclass

from parity_tests.source_cases import SOURCE_FAMILIES
from unet_spec import PRESETS, NetworkConfig, preset


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
        quick: names of the only checks that run on it by default; empty: those that say so themselves.
        extra: steps of the size grid that its image is larger than the least on the first axis; one more on each next.
    """

    name: str
    config: NetworkConfig
    core: bool = False
    trains: bool = False
    slow: bool = False
    only: tuple[str, ...] = ()
    extra: int = 1
    quick: tuple[str, ...] = ()


_PAPER = PRESETS["paper"].replace(widths=(3, 5), dropout=0.0)
_SAME = PRESETS["same"].replace(widths=(4, 6), norm="none", conv_bias=True)
_FULL = ("mapping.bijection", "mapping.checkpoint", "forward.eval", "onnx.ours")
_QUICK = ("mapping.bijection", "onnx.ours")
_CORE = (*_QUICK, "mapping.checkpoint", "forward.eval", "gradients.float64")


def _family(name: str, like: str, extra: int = 1, **changes: object) -> Case:
    """One network of each family, with the core by default and everything when slow checks are wanted."""
    return Case(name, preset(like, **changes), core=True, trains=True, quick=_CORE, extra=extra)


def _variant(name: str, like: str, extra: int = 1, **changes: object) -> Case:
    """Another one, by default against the reference by way of its ONNX graph only."""
    return Case(name, preset(like, **changes), quick=_QUICK, extra=extra)


_VIT = {"width": 4, "groups": 2, "units": (1, 2, 1), "hidden": 8, "layers": 2, "heads": 2, "mlp": 12, "grid": (2, 3)}

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
        # The other architectures. Sizes: of several pixels at the deepest level, and larger than a DropBlock there.
        _family("unet++", "unet++", widths=(3, 4, 5), out_channels=2),
        _variant("unet++-deep", "unet++", widths=(2, 3, 4, 5), deep_supervision=True, in_channels=1),
        _variant("unet++-half-pixel", "unet++", widths=(4, 4), align_corners=False),
        _variant("unet++-3d", "unet++", widths=(2, 3), spatial_dims=3),
        _family("attention-unet", "attention-unet", widths=(4, 6), in_channels=2),
        _variant("attention-unet-3d", "attention-unet", widths=(4, 5), spatial_dims=3),
        _family("multiresunet", "multiresunet", widths=(4, 5)),
        _variant("multiresunet-deep", "multiresunet", widths=(4, 5, 7)),
        _variant("multiresunet-3d", "multiresunet", widths=(4, 6), spatial_dims=3),
        _variant("sa-unet", "sa-unet", widths=(3, 4, 6), keep=1.0),
        _family("sa-unet-drop", "sa-unet", extra=3, widths=(3, 4), block=3, out_channels=3),
        _variant("sa-unet-3d", "sa-unet", widths=(2, 3), spatial_dims=3, keep=1.0),
        _family("m-net", "m-net", widths=(3, 4, 5, 6)),
        _variant("m-net-3d", "m-net", widths=(2, 3, 4), spatial_dims=3, in_channels=1),
        _family("probabilistic-unet", "probabilistic-unet", widths=(4, 5), latent=3, convolutions=2),
        _variant(
            "probabilistic-unet-3d", "probabilistic-unet", widths=(2, 3), latent=2, convolutions=1, spatial_dims=3
        ),
        # Images of 2x3 tokens: as many as there are position vectors; one less and one more.
        _variant("transunet", "transunet", **_VIT, more=6, decoder=(5, 4, 3, 3), out_channels=3, dropout=0.0),
        _family(
            "transunet-drop",
            "transunet",
            **_VIT | {"groups": 4, "units": (1, 1, 1), "hidden": 6, "layers": 1, "heads": 3, "mlp": 8, "grid": (3, 2)},
            more=4,
            decoder=(4, 4, 4, 2),
            in_channels=1,
            out_channels=1,
            dropout=0.2,
        ),
        _family("fcn-8s", "fcn-8s", extra=32, widths=(2, 3, 4, 4, 5), hidden=6, out_channels=3, dropout=0.0),
        _variant(
            "fcn-8s-learned",
            "fcn-8s",
            extra=32,
            widths=(2, 2, 3, 3, 3),
            hidden=4,
            out_channels=2,
            in_channels=1,
            learn_upsampling=True,
        ),
        # What other projects' checkpoints are.
        *(Case(name, config, quick=_QUICK) for name, config in SOURCE_FAMILIES.items()),
    )
}
"""By name."""

FAMILIES: dict[str, NetworkConfig] = {name: c.config for name, c in CASES.items() if c.config.architecture != "unet"}
"""The narrow configs of the other architectures."""


def one_of_each() -> list[str]:
    """The narrow cases of the U-Net's presets, and one of every other architecture."""
    narrow = [name for name, case in CASES.items() if not case.slow]
    core = {CASES[name].config.architecture: name for name in narrow if CASES[name].core}
    first = {CASES[name].config.architecture: name for name in reversed(narrow)} | core
    return [name for name in narrow if name in PRESETS or name in first.values()]
