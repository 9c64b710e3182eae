"""The architectures. Each file has a figure, a config, the builder of the graph, and a `Family` for the registry.

Besides the U-Net, there is one network from each of the article's six families of improvements, the FCN with which the
article compares it, and networks of other projects whose weights can be loaded. Widths and channels are configurable;
the presets are the networks of the reference implementations. `unet_spec.registry` finds a new file automatically.
"""

from __future__ import annotations

from ..network import ARCHITECTURES, NetworkConfig


def __getattr__(name: str) -> type[NetworkConfig]:
    """The config class of this name, from any file."""
    for config in ARCHITECTURES.values():
        if config.__name__ == name:
            return config
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
