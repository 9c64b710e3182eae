"""The U-Net in Flax NNX. `unet_torch/unet.py` is the same network in PyTorch."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from unet_jax.blocks import ConvBlock, DownBlock, UpBlock, conv
from unet_jax.network import Network
from unet_spec import UNetConfig
from unet_spec.geometry import check_image
from unet_spec.unet import block_widths


class UNet(Network):
    """A U-Net (Ronneberger, Fischer and Brox 2015, arXiv 1505.04597) as its config says.

        encoder.0 ─────── skip ──────▶ decoder.1 ─▶ head
          └ pool ▶ encoder.1 ─ skip ─▶ decoder.0 ┘ up
                     └ pool ▶ encoder.2 ─────────┘ up

    Args:
        config: the network.
        seed: of the initial weights, N(0, sqrt(2 / fan-in)); biases start at 0. None: all weights 0, to be loaded.
        dtype: of the parameters and statistics; float64 needs `jax_enable_x64`.
    """

    config: UNetConfig

    def __init__(self, config: UNetConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        super().__init__(config)
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
        self.initialize(seed, dtype)

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
