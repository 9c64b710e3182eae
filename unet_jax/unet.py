"""The U-Net in Flax NNX. `unet_torch/unet.py` is the same network in PyTorch."""

from __future__ import annotations

import os

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from unet_jax import weights
from unet_jax.blocks import ConvBlock, DownBlock, UpBlock, conv
from unet_spec import Checkpoint, DataSpec, UNetConfig, initial_tensors
from unet_spec.geometry import check_image
from unet_spec.unet import block_widths


class UNet(nnx.Module):
    """A U-Net (Ronneberger, Fischer and Brox 2015, arXiv 1505.04597) as its config says.

        encoder.0 ─────── skip ──────▶ decoder.1 ─▶ head
          └ pool ▶ encoder.1 ─ skip ─▶ decoder.0 ┘ up
                     └ pool ▶ encoder.2 ─────────┘ up

    Args:
        config: the network.
        seed: of the initial weights, N(0, sqrt(2 / fan-in)); biases start at 0. None: all weights 0, to be loaded.
        dtype: of the parameters and statistics; float64 needs `jax_enable_x64`.

    Attributes:
        config: the network.
        data: how images are prepared and classes called; travels with the weights.

    A new network is in training mode, as in PyTorch; one from `from_pretrained` is in evaluation mode. `.train()` and
    `.eval()` switch. Under a transformation use `nnx.jit` or split and merge: a plain `jax.jit(model)` drops the
    updates of the batch norms.
    """

    def __init__(self, config: UNetConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        self.config = config
        self.data = DataSpec()
        rngs = nnx.Rngs(0)  # the layers ask for one; no number is drawn from it
        encoder, decoder = block_widths(config)
        rates = [0.0] * (len(encoder) - 2) + [config.dropout] * 2
        blocks = [ConvBlock] + [DownBlock] * (len(encoder) - 1)
        self.encoder = nnx.List(
            [b(config, w, r, rngs, dtype) for b, w, r in zip(blocks, encoder, rates, strict=True)],
        )
        channels_in = [encoder[-1][2], *(widths[2] for widths in decoder)]
        self.decoder = nnx.List(
            [UpBlock(config, c, w, rngs, dtype) for c, w in zip(channels_in, decoder, strict=False)],
        )
        self.head = conv(config, channels_in[-1], config.out_channels, 1, True, rngs, dtype)
        if seed is not None:
            weights.load_tensors(self, initial_tensors(config.graph, seed, dtype))

    def __call__(self, image: Array, rngs: nnx.Rngs | None = None) -> Array:
        """The logits.

        Args:
            image: (N, *spatial, in_channels), floating point, of a size on the network's grid.
            rngs: the source of dropout's masks; needed only in training mode where the config has dropout.

        Returns:
            (N, *spatial, out_channels), smaller by twice the margin in a network with valid convolutions.

        Raises:
            InputError: wrong axes or channels, or a size that does not fit; it names the nearest ones that do.
        """
        check_image(self.config.graph, image.shape)
        x, skips = self.encoder[0](image, rngs), []
        for down in self.encoder[1:]:
            skips.append(x)
            x = down(x, rngs)
        for up in self.decoder:
            x = up(x, skips.pop())
        return self.head(x)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> UNet:
        """The network of a checkpoint folder, in evaluation mode, in the dtype of its file. Raises InputError."""
        return cls.from_checkpoint(Checkpoint.load(folder))

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> UNet:
        """The network of a loaded checkpoint, in evaluation mode, in the dtype of its tensors, which are copied."""
        model = nnx.eval_shape(lambda: cls(checkpoint.config, None))
        weights.load_tensors(model, checkpoint.tensors)
        model.data = checkpoint.data
        model.eval()
        return model

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Writes a checkpoint folder, which `unet_torch.UNet` loads too. Raises InputError if it cannot be written."""
        Checkpoint(self.config, weights.tensors(self), self.data).save(folder)
