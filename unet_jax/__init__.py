"""The Flax NNX twin, and everything that trains it. Arrays are channels-last, (N, *spatial, C).

The public names are listed in `__init__.pyi` and imported when first used.
"""

from unet_spec.door import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
