"""Images in, masks out: readers, writers, data sets, windows, samples, normalization and metrics. NumPy only.

The public names are listed in `__init__.pyi` and imported when first used; so are scipy, tifffile and Pillow.
"""

from unet_spec.door import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
