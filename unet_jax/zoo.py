"""Every architecture by its name in config.json, and how to open whichever a checkpoint holds."""

from __future__ import annotations

import os
from typing import Any

from unet_jax import families
from unet_jax.network import Network
from unet_jax.unet import UNet
from unet_spec import Checkpoint, NetworkConfig
from unet_spec.hub import find_folder

NETWORKS: dict[str, type[Network]] = {
    "unet": UNet,
    "unet++": families.UNetPP,
    "attention-unet": families.AttentionUNet,
    "multiresunet": families.MultiResUNet,
    "sa-unet": families.SAUNet,
    "m-net": families.MNet,
    "probabilistic-unet": families.ProbabilisticUNet,
    "transunet": families.TransUNet,
    "fcn-8s": families.FCN8s,
    "staged-unet": families.StagedUNet,
    "monai-unet": families.MonaiUNet,
    "resnet-unet": families.ResNetUNet,
}


def create(config: NetworkConfig, seed: int | None = 0, **kwargs: Any) -> Network:
    """A new network of any architecture, in training mode; see `UNet` for the arguments."""
    return NETWORKS[config.architecture](config, seed, **kwargs)  # type: ignore[call-arg]


def from_checkpoint(checkpoint: Checkpoint) -> Network:
    """The network of a loaded checkpoint, in evaluation mode, in the dtype of its tensors, which are copied."""
    return NETWORKS[checkpoint.config.architecture].from_checkpoint(checkpoint)


def from_pretrained(source: str | os.PathLike[str], *, revision: str | None = None) -> Network:
    """The network, of whichever architecture, of a checkpoint folder or of a repository of the Hugging Face hub; see
    `Network.from_pretrained`."""
    return from_checkpoint(Checkpoint.load(find_folder(source, revision)))
