"""Builds the graph of a U-Net from its config.

    encoder.0 ─────────────── skip ───────────────▶ decoder.{n−1} ─▶ head
      └ pool ▶ encoder.1 ──── skip ──▶ decoder.{n−2} ┘ up
                 └ pool ▶ ...             ┘ up
                           encoder.n ────┘ up          (the bottleneck)

The twins in `unet_jax.unet` and `unet_torch.unet` are written by hand against the same names.
"""

from __future__ import annotations

from fractions import Fraction

from unet_spec.config import UNetConfig
from unet_spec.graph import Graph, Node
from unet_spec.ops import (
    Activation,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Crop,
    Dropout,
    GroupNorm,
    Input,
    InstanceNorm,
    MaxPool,
    Op,
    Pad,
    Upsample,
)


def block_widths(config: UNetConfig) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """Channels (in, middle, out) of every encoder block, finest first, and decoder block, deepest first.

    With transposed upsampling, the up-convolution narrows to the skip's width and the block keeps it. Interpolation
    keeps the channels, so the block before it hands up the width of the level above: this is why the bottleneck of a
    bilinear U-Net is half as wide.
    """
    widths, levels = config.widths, len(config.widths)
    bilinear = config.upsampling == "bilinear"
    encoder = [(w_in, w, w) for w_in, w in zip((config.in_channels, *widths), widths, strict=False)]
    decoder = [(2 * w, w, w) for w in reversed(widths[:-1])]
    if bilinear:
        encoder[-1] = (widths[-2], widths[-2], widths[-2])
        decoder = [(2 * widths[i], widths[i], widths[max(i - 1, 0)]) for i in reversed(range(levels - 1))]
    return encoder, decoder


class _Builder:
    """Appends nodes and keeps track of sizes: on its axis, a map has n / scale + shift pixels for an input of n."""

    def __init__(self, config: UNetConfig):
        self.config = config
        self.dims = config.spatial_dims
        self.nodes = [Node("input", Input(config.in_channels), ())]
        self.shift = {"input": Fraction(0)}

    def add(self, name: str, op: Op, *inputs: str, shift: Fraction | None = None) -> str:
        self.nodes.append(Node(name, op, inputs))
        self.shift[name] = self.shift[inputs[0]] if shift is None else shift
        return name

    def conv_block(self, name: str, x: str, widths: tuple[int, int, int], dropout: float = 0.0) -> str:
        """Twice: 3x3 convolution, norm, activation. Then dropout."""
        config, dims = self.config, self.dims
        pad = 1 if config.padding == "same" else 0
        for i in (1, 2):
            conv = Conv(widths[i - 1], widths[i], (3,) * dims, (1,) * dims, (pad,) * dims, config.conv_bias)
            x = self.add(f"{name}.conv{i}", conv, x, shift=self.shift[x] + 2 * pad - 2)
            if norm := self.norm(widths[i]):
                x = self.add(f"{name}.norm{i}", norm, x)
            x = self.add(f"{name}.act{i}", Activation(config.activation), x)
        return self.add(f"{name}.dropout", Dropout(dropout), x) if dropout else x

    def norm(self, features: int) -> Op | None:
        config = self.config
        match config.norm:
            case "batch":
                return BatchNorm(features, config.norm_eps, config.norm_momentum)
            case "group":
                return GroupNorm(features, config.norm_eps, config.norm_groups)
            case "instance":
                return InstanceNorm(features, config.norm_eps)
        return None

    def up_block(self, name: str, x: str, skip: str, channels: int, widths: tuple[int, int, int]) -> str:
        """Twice the size, joined with the skip as [skip, upsampled], then a block. `channels`: those of `x`."""
        if self.config.upsampling == "transposed":
            up: Op = ConvTranspose(channels, widths[0] // 2, (2,) * self.dims, (2,) * self.dims)
        else:
            up = Upsample(2, self.config.align_corners)
        x = self.add(f"{name}.up", up, x, shift=2 * self.shift[x])
        margin = (self.shift[skip] - self.shift[x]) / 2  # what the skip has more, on each side
        assert margin == int(margin) >= 0
        if margin and self.config.merge == "crop":
            skip = self.add(f"{name}.crop", Crop((int(margin),) * self.dims), skip, shift=self.shift[x])
        elif margin:
            x = self.add(f"{name}.pad", Pad((int(margin),) * self.dims), x, shift=self.shift[skip])
        x = self.add(f"{name}.concat", Concat(), skip, x)
        return self.conv_block(f"{name}.block", x, widths)


def build(config: UNetConfig) -> Graph:
    """The graph of `config`: some 50 nodes for five levels."""
    b = _Builder(config)
    encoder, decoder = block_widths(config)
    x, skips = "input", []
    for i, widths in enumerate(encoder):
        if i:
            skips.append(x)
            x = b.add(f"encoder.{i}.pool", MaxPool((2,) * b.dims), x, shift=b.shift[x] / 2)
        deep = i >= len(encoder) - 2
        x = b.conv_block(f"encoder.{i}", x, widths, config.dropout if deep else 0.0)
    channels = encoder[-1][2]
    for i, widths in enumerate(decoder):
        x = b.up_block(f"decoder.{i}", x, skips.pop(), channels, widths)
        channels = widths[2]
    head = Conv(channels, config.out_channels, (1,) * b.dims, (1,) * b.dims, (0,) * b.dims)
    b.add("head", head, x)
    return Graph(tuple(b.nodes), config.spatial_dims)
