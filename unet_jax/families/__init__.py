"""The other architectures in Flax, one file each; `unet_torch.families` mirrors them."""

from __future__ import annotations

from unet_jax.families.attention_unet import AttentionUNet
from unet_jax.families.fcn8s import FCN8s
from unet_jax.families.m_net import MNet
from unet_jax.families.monai_unet import MonaiUNet
from unet_jax.families.multiresunet import MultiResUNet
from unet_jax.families.probabilistic_unet import ProbabilisticUNet
from unet_jax.families.resnet_unet import ResNetUNet
from unet_jax.families.sa_unet import SAUNet
from unet_jax.families.staged_unet import StagedUNet
from unet_jax.families.transunet import TransUNet
from unet_jax.families.unetpp import UNetPP

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
