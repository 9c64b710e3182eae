"""The U-Net in PyTorch. `unet_jax/unet.py` is the same network in Flax."""

from __future__ import annotations

from torch import Tensor, nn

from unet_spec import UNetConfig
from unet_spec.unet import block_widths
from unet_torch.blocks import ConvBlock, DownBlock, UpBlock, conv
from unet_torch.network import Network


class UNet(Network):
    """A U-Net (Ronneberger, Fischer and Brox 2015, arXiv 1505.04597) as its config says.

        encoder.0 ─────── skip ──────▶ decoder.1 ─▶ head
          └ pool ▶ encoder.1 ─ skip ─▶ decoder.0 ┘ up
                     └ pool ▶ encoder.2 ─────────┘ up

    Args:
        config: the network.
        seed: of the initial weights, N(0, sqrt(2 / fan-in)); biases start at 0. None: left to be loaded.
    """

    config: UNetConfig

    def __init__(self, config: UNetConfig, seed: int | None = 0):
        super().__init__(config)
        encoder, decoder = block_widths(config)
        rates = [0.0] * (len(encoder) - 2) + [config.dropout] * 2
        blocks = [ConvBlock] + [DownBlock] * (len(encoder) - 1)
        self.encoder = nn.ModuleList(b(config, w, r) for b, w, r in zip(blocks, encoder, rates, strict=True))
        channels_in = [encoder[-1][2], *(widths[2] for widths in decoder)]
        self.decoder = nn.ModuleList(UpBlock(config, c, w) for c, w in zip(channels_in, decoder, strict=False))
        self.head = conv(config, channels_in[-1], config.out_channels, 1, bias=True)
        self.initialize(seed)

    def forward(self, image: Tensor) -> Tensor:
        """The logits.

        Args:
            image: (N, in_channels, *spatial), floating point, of a size on the network's grid.

        Returns:
            (N, out_channels, *spatial), smaller by twice the margin in a network with valid convolutions.

        Raises:
            InputError: wrong axes or channels, or a size that does not fit; it names the nearest ones that do.
        """
        self.check(image)
        x, skips = self.encoder[0](image), []
        for down in self.encoder[1:]:
            skips.append(x)
            x = down(x)
        for up in self.decoder:
            x = up(x, skips.pop())
        return self.head(x)
