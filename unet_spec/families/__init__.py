"""The architectures: one file each, with its figure, its config, the builder of its graph, and what `Family` asks for.

Besides the U-Net, these are one of each of the article's six families of improvements to it, the FCN that it compares
it with, and the networks of other projects whose weights load here. Widths and channels are configurable; the presets
are the reference implementations' networks. A new file enters itself: `unet_spec.registry` finds it.
"""

from __future__ import annotations

from ..network import ARCHITECTURES, NetworkConfig


def __getattr__(name: str) -> type[NetworkConfig]:
    """The config class of this name, from whichever file."""
    for config in ARCHITECTURES.values():
        if config.__name__ == name:
            return config
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
