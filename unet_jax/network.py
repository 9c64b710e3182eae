"""What all networks have in common in Flax. `unet_torch/network.py` is the same in PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Self

from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from unet_jax import weights
from unet_spec import Checkpoint, DataSpec, NetworkConfig, initial_tensors

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
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> Self:
        """The network of a checkpoint folder, in evaluation mode, in the dtype of its file. Raises InputError."""
        return cls.from_checkpoint(Checkpoint.load(folder))

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> Self:
        """The network of a loaded checkpoint, in evaluation mode, in the dtype of its tensors, which are copied."""
        model = nnx.eval_shape(lambda: cls(checkpoint.config, None))  # type: ignore[call-arg]
        weights.load_tensors(model, checkpoint.tensors)
        model.data = checkpoint.data
        model.eval()
        return model

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Writes a checkpoint folder, which the PyTorch twin loads too. Raises InputError if it cannot be written."""
        Checkpoint(self.config, weights.tensors(self), self.data).save(folder)
