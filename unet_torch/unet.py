"""The U-Net in PyTorch. `unet_jax/unet.py` is the same network in Flax."""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from unet_spec import Checkpoint, DataSpec, UNetConfig
from unet_spec.geometry import check_image
from unet_spec.unet import block_widths
from unet_torch import weights
from unet_torch.blocks import ConvBlock, DownBlock, UpBlock, conv


class UNet(nn.Module):
    """A U-Net (Ronneberger, Fischer and Brox 2015, arXiv 1505.04597) as its config says.

        encoder.0 ─────── skip ──────▶ decoder.1 ─▶ head
          └ pool ▶ encoder.1 ─ skip ─▶ decoder.0 ┘ up
                     └ pool ▶ encoder.2 ─────────┘ up

    Args:
        config: the network.
        seed: of the initial weights, N(0, sqrt(2 / fan-in)); biases start at 0. None: left to be loaded.

    Attributes:
        config: the network.
        data: how images are prepared and classes called; travels with the weights.

    A new network is in training mode, as PyTorch has it; one from `from_pretrained` is in evaluation mode.
    """

    def __init__(self, config: UNetConfig, seed: int | None = 0):
        super().__init__()
        self.config = config
        self.data = DataSpec()
        self._grids = config.geometry.grids
        encoder, decoder = block_widths(config)
        rates = [0.0] * (len(encoder) - 2) + [config.dropout] * 2
        blocks = [ConvBlock] + [DownBlock] * (len(encoder) - 1)
        self.encoder = nn.ModuleList(b(config, w, r) for b, w, r in zip(blocks, encoder, rates, strict=True))
        channels_in = [encoder[-1][2], *(widths[2] for widths in decoder)]
        self.decoder = nn.ModuleList(UpBlock(config, c, w) for c, w in zip(channels_in, decoder, strict=False))
        self.head = conv(config, channels_in[-1], config.out_channels, 1, bias=True)
        if seed is not None:
            weights.initialize(self, seed)

    def forward(self, image: Tensor) -> Tensor:
        """The logits.

        Args:
            image: (N, in_channels, *spatial), floating point, of a size on the network's grid.

        Returns:
            (N, out_channels, *spatial), smaller by twice the margin in a network with valid convolutions.

        Raises:
            InputError: wrong axes or channels, or a size that does not fit; it names the nearest ones that do.
        """
        if not self._fits(image.shape):
            check_image(self.config.graph, tuple(image.shape), channels_last=False)
        x, skips = self.encoder[0](image), []
        for down in self.encoder[1:]:
            skips.append(x)
            x = down(x)
        for up in self.decoder:
            x = up(x, skips.pop())
        return self.head(x)

    def _fits(self, shape: torch.Size) -> bool:
        """The test of `check_image` in plain arithmetic, which torch.compile and torch.export can follow."""
        return (
            len(shape) == len(self._grids) + 2
            and shape[1] == self.config.in_channels
            and all(
                n >= g.minimum and (n - g.minimum) % g.step == 0 for n, g in zip(shape[2:], self._grids, strict=True)
            )
        )

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> UNet:
        """The network of a checkpoint folder, in evaluation mode, in the dtype of its file. Raises InputError."""
        return cls.from_checkpoint(Checkpoint.load(folder))

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> UNet:
        """The network of a loaded checkpoint, in evaluation mode, in the dtype of its tensors, which are copied."""
        with torch.device("meta"):  # nothing is allocated only to be replaced
            model = cls(checkpoint.config, None)
        weights.load_tensors(model, checkpoint.tensors)
        model.data = checkpoint.data
        return model.eval()

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Writes a checkpoint folder, which `unet_jax.UNet` loads too. Raises InputError if it cannot be written."""
        Checkpoint(self.config, weights.tensors(self), self.data).save(folder)
