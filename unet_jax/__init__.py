"""The Flax NNX twin, and everything that trains it. Arrays are channels-last, (N, *spatial, C)."""

from unet_jax.unet import UNet
from unet_spec import UNetConfig, preset

__all__ = ["UNet", "UNetConfig", "preset"]
