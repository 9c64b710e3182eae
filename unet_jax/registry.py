"""Creates a network of any architecture, and opens any checkpoint."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from unet_spec import Checkpoint, NetworkConfig
from unet_spec import UNetConfig as UNetConfig
from unet_spec import preset as preset
from unet_spec.registry import Networks, check_config
from unet_spec.weights.adapt import open_adapted
from unet_spec.weights.hub import find_folder

from .network import Network

NETWORKS: Networks[Network] = Networks("unet_jax.families")
"""Classes by architecture, as config.json names it. Each is imported at first use."""

register = NETWORKS.register
"""Class decorator: `@register(MyConfig)` makes the class the network of these configs."""


def create(config: NetworkConfig, seed: int | None = 0, **kwargs: Any) -> Network:
    """A new network of any architecture, in training mode.

    Args:
        config: the network.
        seed: seed of the initial weights; None: all weights are 0, for loading.
        kwargs: `dtype`, as for `UNet`.

    Example:
        >>> import jax.numpy as jnp
        >>> from unet_jax import create, preset
        >>> model = create(preset("same", widths=(4, 8)))
        >>> model.eval()
        >>> model(jnp.zeros((1, 40, 40, 1))).shape
        (1, 40, 40, 2)
    """
    check_config(Network, config)
    network: Any = NETWORKS[config.architecture]
    return network(config, seed, **kwargs)


def from_checkpoint(checkpoint: Checkpoint) -> Network:
    """The network of a loaded checkpoint, in evaluation mode, in the dtype of its tensors, which are copied.

    Args:
        checkpoint: config and weights of any architecture.

    Example:
        >>> from unet_jax import from_checkpoint, preset
        >>> from unet_spec import Checkpoint, random_tensors
        >>> config = preset("same", widths=(4, 8))
        >>> model = from_checkpoint(Checkpoint(config, random_tensors(config.graph, seed=0)))
    """
    return NETWORKS[checkpoint.config.architecture].from_checkpoint(checkpoint)


def from_pretrained(
    source: str | os.PathLike[str],
    *,
    revision: str | None = None,
    in_channels: int | None = None,
    out_channels: int | None = None,
    class_names: Sequence[str] | None = None,
) -> Network:
    """The network, of any architecture, of a checkpoint, in evaluation mode, in the dtype of its file.

    Args:
        source: a checkpoint folder; the name of an installed network, such as "nuclei" of the package unet-weights; or
            a repository "owner/name" of the Hugging Face hub, which needs the extra "hub".
        revision: a branch, tag or commit of the repository; only a commit cannot change.
        in_channels: channels of other images than those of the checkpoint: the layers that depend on them are
            initialised at random.
        out_channels: another number of logits: the layers that compute them are initialised at random, and a warning
            names them.
        class_names: class names of other classes; see `unet_spec.adapt`.

    Raises:
        InputError: no such folder or repository, not a checkpoint, or a wrong number of class names.

    Example:
        >>> from unet_jax import create, from_pretrained, preset
        >>> create(preset("same", widths=(4, 8))).save_pretrained("folder")
        >>> from_pretrained("folder").config.widths
        (4, 8)
    """
    changes = {"in_channels": in_channels, "out_channels": out_channels, "class_names": class_names}
    return from_checkpoint(open_adapted(find_folder(source, revision), **changes))
