"""The PyTorch twin. Tensors are channels-first, (N, C, *spatial)."""

from unet_spec import UNetConfig, preset
from unet_torch.network import Network
from unet_torch.unet import UNet
from unet_torch.zoo import NETWORKS, create, from_checkpoint, from_pretrained

__all__ = ["NETWORKS", "Network", "UNet", "UNetConfig", "create", "from_checkpoint", "from_pretrained", "preset"]
