"""Every preset as narrow as a few minutes on a CPU allow: what the demo and the table of families train."""

from __future__ import annotations

from typing import Any

from unet_spec import NetworkConfig, preset

WIDTHS: dict[str, Any] = {"widths": (8, 16, 32, 64)}
NARROW: dict[str, dict[str, Any]] = {
    "probabilistic-unet": {"widths": (8, 16, 32, 48)},
    "transunet": {
        "width": 8,
        "groups": 4,
        "units": (1, 2, 2),
        "hidden": 64,
        "layers": 2,
        "heads": 4,
        "mlp": 128,
        "grid": (15, 15),
        "more": 32,
        "decoder": (32, 16, 8, 8),
    },
    "fcn-8s": {"widths": (8, 16, 32, 64, 64), "hidden": 128},
    "nnunet": {**WIDTHS, "sides": 2},
    "nnunet-residual": {**WIDTHS, "depths": (1, 2, 2, 2), "decoder_depths": (1, 1, 1), "sides": 2},
    "monai-unet": {**WIDTHS, "strides": (2, 2, 2)},
    "resnet34-unet": {"width": 8, "depths": (1, 1, 1, 1), "decoder": (32, 16, 8, 8, 8)},
    "resnet50-unet": {"width": 8, "depths": (1, 1, 1, 1), "decoder": (32, 16, 8, 8, 8)},
}
"""What to change of a preset. Those that are not named here have `WIDTHS`."""


def narrow(name: str) -> NetworkConfig:
    """The preset called `name`, narrow. Raises InputError for an unknown name."""
    return preset(name, **NARROW.get(name, WIDTHS))
