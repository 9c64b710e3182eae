"""The Flax NNX twin, and everything that trains it. Arrays are channels-last, (N, *spatial, C)."""

from unet_jax.compiling import compiler_options
from unet_jax.linen import LinenView, linen_view
from unet_jax.network import Network
from unet_jax.unet import UNet
from unet_jax.zoo import NETWORKS, create, from_checkpoint, from_pretrained
from unet_spec import UNetConfig, preset

__all__ = [
    "NETWORKS",
    "LinenView",
    "Network",
    "UNet",
    "UNetConfig",
    "compiler_options",
    "create",
    "from_checkpoint",
    "from_pretrained",
    "linen_view",
    "preset",
]
