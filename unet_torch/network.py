"""Base class of all networks in PyTorch. `unet_jax/network.py` is its counterpart in Flax."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import nn

from unet_spec import Checkpoint, DataSpec, NetworkConfig
from unet_spec.registry import check_config
from unet_spec.weights.adapt import open_adapted
from unet_spec.weights.data_spec import warn_of_empty
from unet_spec.weights.hub import find_folder, push
from unet_spec.weights.model_card import CARD, model_card

from . import weights
from .shapes import Image, Labels, Logits, Scalar, Weights

Loss = Callable[[Logits, Labels, Weights | None], Scalar]
"""(logits (N, K, *spatial), labels (N, *spatial), weights as labels or None) to a scalar."""


class Network(nn.Module):
    """Base class of all networks: holds the config, and loads and saves weights.

    Arguments as for `UNet`. A subclass makes its layers, then calls `initialize`.

    Attributes:
        config: the network.
        data: normalisation and class names, stored with the weights.
        config_type: class of the configs that the network is made of; `register` sets it.

    A new network is in training mode, as usual in PyTorch; one from `from_pretrained` is in evaluation mode.
    """

    config_type: ClassVar[type[NetworkConfig]] = NetworkConfig

    def __init__(self, config: NetworkConfig, seed: int | None = 0):
        super().__init__()
        check_config(type(self), config)
        self.config = config
        self.data = DataSpec()
        self._grids = config.geometry.grids

    def initialize(self, seed: int | None) -> None:
        """Sets every weight to `unet_spec.initial_tensors`. With seed None, weights must be loaded."""
        if seed is not None:
            weights.initialize(self, seed)

    def check(self, image: Image) -> None:
        """Raises InputError for wrong axes or channels, or for a size that does not fit, with the nearest sizes that
        fit."""
        if not self._fits(image.shape):
            self.config.graph.check_image(tuple(image.shape), channels_last=False)

    def _fits(self, shape: torch.Size) -> bool:
        """The test of `Graph.check_image` in plain arithmetic, which torch.compile and torch.export can follow."""
        return (
            len(shape) == len(self._grids) + 2
            and shape[1] == self.config.in_channels
            and all(
                n >= g.minimum and (n - g.minimum) % g.step == 0 for n, g in zip(shape[2:], self._grids, strict=True)
            )
        )

    def loss(self, of: Loss, image: Image, labels: Labels, weights: Weights | None = None) -> Scalar:
        """The training loss: here, `of` applied to the logits. Networks with several outputs or a latent variable
        override it.

        Args:
            of: loss function from (logits (N, K, *spatial), labels, weights or None) to a scalar.
            image: (N, C, *spatial).
            labels: (N, *spatial), class numbers.
            weights: as labels, or None.
        """
        return of(self(image), labels, weights)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        revision: str | None = None,
        in_channels: int | None = None,
        out_channels: int | None = None,
        class_names: Sequence[str] | None = None,
    ) -> Self:
        """The network of a checkpoint folder, of an installed package by its name, such as "nuclei", or of a repository
        "owner/name" of the Hugging Face hub (which needs the extra "hub"), in evaluation mode, in the dtype of its
        file. Raises InputError.

        revision: a branch, tag or commit of the repository; only a commit cannot change.
        in_channels, out_channels, class_names: of other images or classes, as in `unet_spec.adapt`: layers that do not
        fit are initialised at random; a warning names them.
        """
        changes = {"in_channels": in_channels, "out_channels": out_channels, "class_names": class_names}
        return cls.from_checkpoint(open_adapted(find_folder(source, revision), **changes))

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> Self:
        """The network of a loaded checkpoint, in evaluation mode, in the dtype of its tensors, which are copied."""
        with torch.device("meta"):  # nothing is allocated only to be replaced
            model = cls(checkpoint.config, None)
        weights.load_tensors(model, checkpoint.tensors)
        model.data = checkpoint.data
        return model.eval()

    def save_pretrained(self, folder: str | os.PathLike[str], *, licence: str | None = None) -> None:
        """Writes a checkpoint folder with a model card, which the Flax twin loads too.

        Warns if `data` is empty. licence: of the weights, for the card, such as "cc-by-4.0". Raises InputError if the
        folder cannot be written.
        """
        warn_of_empty(self.data)
        card = model_card(self.config, self.data, licence)
        Checkpoint(self.config, weights.tensors(self), self.data).save(folder, {CARD: card})

    def push_to_hub(self, repository: str, *, licence: str | None = None, **options: Any) -> str:
        """Uploads what `save_pretrained` writes to the hub's repository "owner/name"; see `unet_spec.weights.hub.push`
        for the options. Returns the address of the commit. Raises InputError."""
        return push(lambda folder: self.save_pretrained(folder, licence=licence), repository, **options)
