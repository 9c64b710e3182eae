"""What all networks have in common in Flax. `unet_torch/network.py` is the same in PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Self

from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from unet_jax import weights
from unet_spec import Checkpoint, DataSpec, NetworkConfig, initial_tensors
from unet_spec.hub import find_folder, push
from unet_spec.model_card import CARD, model_card

Loss = Callable[[Array, Array, Array | None], Array]
"""(logits (N, *spatial, K), labels (N, *spatial), weights as labels or None) to a scalar."""


class Network(nnx.Module):
    """The base of every network: its config, and its weights' way in and out.

    Attributes:
        config: the network.
        data: how images are prepared and classes called; travels with the weights.

    A new network is in training mode, as in PyTorch; one from `from_pretrained` is in evaluation mode. `.train()` and
    `.eval()` switch. Under a transformation use `nnx.jit` or split and merge: a plain `jax.jit(model)` drops the
    updates of the batch norms.
    """

    def __init__(self, config: NetworkConfig):
        self.config = config
        self.data = DataSpec()

    def initialize(self, seed: int | None, dtype: DTypeLike) -> None:
        """Fills every weight with `unet_spec.initial_tensors`; with None, leaves all to be loaded."""
        if seed is not None:
            weights.load_tensors(self, initial_tensors(self.config.graph, seed, dtype))

    def loss(self, of: Loss, image: Array, labels: Array, weights: Array | None, rngs: nnx.Rngs) -> Array:
        """What training minimises: here `of` the logits. Networks with several outputs, or a latent, have their own.

        Args:
            of: (logits (N, *spatial, K), labels, weights or None) to a scalar.
            image: (N, *spatial, C).
            labels: (N, *spatial), class numbers.
            weights: as labels, or None.
            rngs: with a stream "dropout".
        """
        return of(self(image, rngs), labels, weights)  # type: ignore[operator]

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str], *, revision: str | None = None) -> Self:
        """The network of a checkpoint folder, or of a repository "owner/name" of the Hugging Face hub (which needs the
        extra "hub"), in evaluation mode, in the dtype of its file. Raises InputError.

        revision: a branch, tag or commit of the repository; a commit is the only one that cannot change.
        """
        return cls.from_checkpoint(Checkpoint.load(find_folder(source, revision)))

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> Self:
        """The network of a loaded checkpoint, in evaluation mode, in the dtype of its tensors, which are copied."""
        model = nnx.eval_shape(lambda: cls(checkpoint.config, None))  # type: ignore[call-arg]
        weights.load_tensors(model, checkpoint.tensors)
        model.data = checkpoint.data
        model.eval()
        return model

    def save_pretrained(self, folder: str | os.PathLike[str], *, licence: str | None = None) -> None:
        """Writes a checkpoint folder with a model card, which the PyTorch twin loads too.

        licence: of the weights, for the card, such as "cc-by-4.0". Raises InputError if it cannot be written.
        """
        card = model_card(self.config, self.data, licence)
        Checkpoint(self.config, weights.tensors(self), self.data).save(folder, {CARD: card})

    def push_to_hub(self, repository: str, *, licence: str | None = None, **options: Any) -> str:
        """Uploads what `save_pretrained` writes to the hub's repository "owner/name"; see `unet_spec.hub.push` for the
        options. Returns the address of the commit. Raises InputError."""
        return push(lambda folder: self.save_pretrained(folder, licence=licence), repository, **options)
