"""Base class of all networks in Flax. `unet_torch/network.py` is its counterpart in PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from unet_spec import Checkpoint, DataSpec, NetworkConfig
from unet_spec.registry import check_config
from unet_spec.weights.adapt import open_adapted
from unet_spec.weights.data_spec import warn_of_empty
from unet_spec.weights.hub import find_folder, push
from unet_spec.weights.model_card import CARD, model_card

from . import weights
from .shapes import Image, Labels, Logits, Scalar, Weights

Loss = Callable[[Logits, Labels, Weights | None], Scalar]
"""(logits (N, *spatial, K), labels (N, *spatial), weights as labels or None) to a scalar."""


class Network(nnx.Module):
    """Base class of all networks: holds the config, and loads and saves weights.

    Arguments as for `UNet`. A subclass makes its layers, then calls `initialize`.

    Attributes:
        config: the network.
        data: normalisation and class names, stored with the weights.
        config_type: class of the configs that the network is made of; `register` sets it.

    A new network is in training mode, as in PyTorch; one from `from_pretrained` is in evaluation mode. `.train()` and
    `.eval()` switch. Under a transformation use `nnx.jit` or split and merge: under a plain `jax.jit`, a model that is
    an argument loses the updates of its batch norms, without an error.
    """

    config_type: ClassVar[type[NetworkConfig]] = NetworkConfig

    def __init__(self, config: NetworkConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        check_config(type(self), config)
        self.config = config
        self.data = DataSpec()

    def initialize(self, seed: int | None, dtype: DTypeLike) -> None:
        """Sets every weight to `unet_spec.initial_tensors`. With seed None, weights must be loaded."""
        if seed is not None:
            weights.initialize(self, seed, dtype)

    def __call__(self, image: Image, rngs: nnx.Rngs | None = None) -> Logits:
        """The logits. `rngs`: random numbers for dropout, in training mode."""
        raise NotImplementedError

    def check(self, image: Image) -> None:
        """Raises InputError for wrong axes or channels, or for a size that does not fit, with the nearest sizes that
        fit."""
        self.config.graph.check_image(image.shape)

    def loss(self, of: Loss, image: Image, labels: Labels, weights: Weights | None, rngs: nnx.Rngs) -> Scalar:
        """The training loss: here, `of` applied to the logits. Networks with several outputs or a latent variable
        override it.

        Args:
            of: loss function from (logits (N, *spatial, K), labels, weights or None) to a scalar.
            image: (N, *spatial, C).
            labels: (N, *spatial), class numbers.
            weights: as labels, or None.
            rngs: with a stream "dropout".
        """
        return of(self(image, rngs), labels, weights)

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
        model = nnx.eval_shape(lambda: cls(checkpoint.config, None))
        weights.load_tensors(model, checkpoint.tensors)
        model.data = checkpoint.data
        model.eval()
        return model

    def save_pretrained(self, folder: str | os.PathLike[str], *, licence: str | None = None) -> None:
        """Writes a checkpoint folder with a model card, which the PyTorch twin loads too.

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
