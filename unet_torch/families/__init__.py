"""The other architectures in PyTorch, one file each; `unet_jax.families` mirrors them."""

from __future__ import annotations

from unet_torch.families.attention_unet import AttentionUNet
from unet_torch.families.fcn8s import FCN8s
from unet_torch.families.m_net import MNet
from unet_torch.families.monai_unet import MonaiUNet
from unet_torch.families.multiresunet import MultiResUNet
from unet_torch.families.probabilistic_unet import ProbabilisticUNet
from unet_torch.families.resnet_unet import ResNetUNet
from unet_torch.families.sa_unet import SAUNet
from unet_torch.families.staged_unet import StagedUNet
from unet_torch.families.transunet import TransUNet
from unet_torch.families.unetpp import UNetPP

__all__ = [
    "AttentionUNet",
    "FCN8s",
    "MNet",
    "MonaiUNet",
    "MultiResUNet",
    "ProbabilisticUNet",
    "ResNetUNet",
    "SAUNet",
    "StagedUNet",
    "TransUNet",
    "UNetPP",
]
