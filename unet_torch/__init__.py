"""The PyTorch twin. Tensors are channels-first, (N, C, *spatial).

The public names are listed in `__init__.pyi` and imported when first used.
"""

from unet_spec.door import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
