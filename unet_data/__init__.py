"""Images in, masks out: readers, writers, data sets, windows, samples, normalization and metrics. NumPy only.

The public names are listed in `__init__.pyi`. They, and scipy, tifffile and Pillow, are imported when first used.
"""

from unet_spec.door import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
