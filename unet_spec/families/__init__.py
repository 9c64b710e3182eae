"""The other architectures: one file each, with its config, the builder of its graph, and its presets.

One of each of the article's six families of improvements to the U-Net, and the FCN that it compares it with. Widths and
channels are configurable as for the U-Net; the presets are the reference implementations' networks.
"""

from __future__ import annotations

from unet_spec.families import (
    attention_unet,
    fcn8s,
    m_net,
    monai_unet,
    multiresunet,
    probabilistic_unet,
    resnet_unet,
    sa_unet,
    staged_unet,
    transunet,
    unetpp,
)
from unet_spec.families.attention_unet import AttentionUNetConfig
from unet_spec.families.fcn8s import FCN8sConfig
from unet_spec.families.m_net import MNetConfig
from unet_spec.families.monai_unet import MonaiUNetConfig
from unet_spec.families.multiresunet import MultiResUNetConfig
from unet_spec.families.probabilistic_unet import ProbabilisticUNetConfig
from unet_spec.families.resnet_unet import ResNetUNetConfig
from unet_spec.families.sa_unet import SAUNetConfig
from unet_spec.families.staged_unet import StagedUNetConfig
from unet_spec.families.transunet import TransUNetConfig
from unet_spec.families.unetpp import UNetPPConfig
from unet_spec.network import NetworkConfig

FAMILY_PRESETS: dict[str, NetworkConfig] = {
    **unetpp.PRESETS,
    **attention_unet.PRESETS,
    **multiresunet.PRESETS,
    **sa_unet.PRESETS,
    **m_net.PRESETS,
    **probabilistic_unet.PRESETS,
    **transunet.PRESETS,
    **fcn8s.PRESETS,
    **staged_unet.PRESETS,
    **monai_unet.PRESETS,
    **resnet_unet.PRESETS,
}

__all__ = [
    "FAMILY_PRESETS",
    "AttentionUNetConfig",
    "FCN8sConfig",
    "MNetConfig",
    "MonaiUNetConfig",
    "MultiResUNetConfig",
    "ProbabilisticUNetConfig",
    "ResNetUNetConfig",
    "SAUNetConfig",
    "StagedUNetConfig",
    "TransUNetConfig",
    "UNetPPConfig",
]
