"""Entry points for `torch.hub`.

    torch.hub.load("this/folder", "unet", preset="paper", source="local")           # any preset, with changes
    torch.hub.load("this/folder", "paper", in_channels=3, source="local")           # one entry point a preset
    torch.hub.load("this/folder", "from_pretrained", "runs/best", source="local")   # a checkpoint, with its weights

Names of presets have "_" for "-" and "pp" for "++". Networks from presets are untrained and in training mode.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unet_spec import preset_names as _preset_names
from unet_torch import Network, create
from unet_torch import from_pretrained as _from_pretrained
from unet_torch import preset as _preset

dependencies = ["torch", "numpy", "safetensors"]


def unet(preset: str = "paper", seed: int | None = 0, **changes: Any) -> Network:
    """An untrained network. changes: of the preset's config, such as in_channels=3 or widths=(16, 32, 64)."""
    return create(_preset(preset, **changes), seed)


def from_pretrained(source: str, revision: str | None = None, **changes: Any) -> Network:
    """The network of a checkpoint folder or of a repository "owner/name" of the Hugging Face hub, for evaluation.
    changes: in_channels, out_channels, class_names, for other images or classes."""
    return _from_pretrained(source, revision=revision, **changes)


def _entry(name: str) -> Callable[..., Network]:
    def build(seed: int | None = 0, **changes: Any) -> Network:
        return create(_preset(name, **changes), seed)

    build.__doc__ = f"The preset {name!r}, untrained. changes: of its config, such as in_channels=3."
    return build


for _name in _preset_names():
    globals()[_name.replace("++", "pp").replace("-", "_")] = _entry(_name)
