"""ONNX, TensorRT, the bundle that is deployed, and the runtimes that run it. Needs neither JAX nor PyTorch.

The public names are listed in `__init__.pyi` and imported when first used: importing this package imports none of onnx,
onnxruntime and TensorRT.
"""

from unet_spec.door import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
