"""The PyTorch twin. Tensors are channels-first, (N, C, *spatial)."""

from unet_spec import UNetConfig, preset
from unet_torch.unet import UNet

__all__ = ["UNet", "UNetConfig", "preset"]
