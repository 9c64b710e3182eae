"""ONNX and TensorRT export, deployment bundles, and runtimes. Needs neither JAX nor PyTorch.

The public names are listed in `__init__.pyi` and imported when first used: importing this package does not import onnx,
onnxruntime or TensorRT.
"""

from unet_spec.door import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
