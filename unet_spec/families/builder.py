"""Builds graphs: appends nodes, and records the channels of every map."""

from __future__ import annotations

from ..graph import Graph, Node
from ..ops import (
    Activation,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Crop,
    CroppedConvTranspose,
    GroupNorm,
    Input,
    InstanceNorm,
    MaxPool,
    Op,
    PlainInstanceNorm,
    Upsample,
)

Sizes = tuple[int, ...]
"""One number for each spatial axis."""


class Builder:
    """Collects the nodes of a graph. Every method takes the name of the new node and returns it.

    Attributes:
        dims: number of spatial axes.
        valid: whether convolutions have no padding.
        channels: channels of every node's output.
    """

    def __init__(self, in_channels: int, dims: int, multiple: int = 1, valid: bool = False):
        self.dims, self.valid = dims, valid
        self.nodes: list[Node] = []
        self.channels: dict[str, int] = {}
        self.add("input", Input(in_channels, multiple))

    def add(self, name: str, op: Op, *inputs: str) -> str:
        self.nodes.append(Node(name, op, inputs))
        self.channels[name] = op.channels(*(self.channels[i] for i in inputs))
        return name

    def sizes(self, size: int | Sizes) -> Sizes:
        """One number for each axis: `size` itself, or a single number for all."""
        return (size,) * self.dims if isinstance(size, int) else size

    def conv(
        self, name: str, x: str, out: int, kernel: int | Sizes = 3, stride: int | Sizes = 1, bias: bool = True
    ) -> str:
        """A convolution, padded by (kernel − 1) / 2 zeros per side unless the builder is `valid`."""
        window = self.sizes(kernel)
        pads = tuple(0 if self.valid else (k - 1) // 2 for k in window)
        return self.add(name, Conv(self.channels[x], out, window, self.sizes(stride), pads, bias), x)

    def up_conv(self, name: str, x: str, out: int, kernel: int = 2, cut: tuple[int, int] = (0, 0)) -> str:
        """A transposed convolution with stride 2; `cut` pixels are removed at the low and the high end."""
        window, strides = (kernel,) * self.dims, (2,) * self.dims
        if cut == (0, 0):
            return self.add(name, ConvTranspose(self.channels[x], out, window, strides), x)
        return self.add(name, CroppedConvTranspose(self.channels[x], out, window, strides, True, *cut), x)

    def batch_norm(self, name: str, x: str, eps: float = 1e-5, momentum: float = 0.1) -> str:
        return self.add(name, BatchNorm(self.channels[x], eps, momentum), x)

    def norm(self, kind: str, name: str, x: str, eps: float = 1e-5, momentum: float = 0.1, groups: int = 8) -> str:
        """A norm: "batch", "group", "instance" or "plain" (an instance norm without scale and shift). With "none", no
        node is added and x is returned."""
        channels = self.channels[x]
        match kind:
            case "batch":
                return self.batch_norm(name, x, eps, momentum)
            case "group":
                return self.add(name, GroupNorm(channels, eps, groups), x)
            case "instance":
                return self.add(name, InstanceNorm(channels, eps), x)
            case "plain":
                return self.add(name, PlainInstanceNorm(channels, eps), x)
        return x

    def relu(self, name: str, x: str) -> str:
        return self.add(name, Activation("relu"), x)

    def max_pool(self, name: str, x: str, size: int | Sizes = 2) -> str:
        return self.add(name, MaxPool(self.sizes(size)), x)

    def avg_pool(self, name: str, x: str, size: int | Sizes = 2) -> str:
        return self.add(name, AvgPool(self.sizes(size)), x)

    def upsample(self, name: str, x: str, scale: int = 2, align_corners: bool = True) -> str:
        """Linear interpolation to `scale` times the size."""
        return self.add(name, Upsample(scale, align_corners), x)

    def crop(self, name: str, x: str, margin: int) -> str:
        """Crops `margin` pixels from every side. With 0, no node is added and x is returned."""
        return self.add(name, Crop((margin,) * self.dims), x) if margin else x

    def concat(self, name: str, *inputs: str) -> str:
        return self.add(name, Concat(), *inputs)

    def graph(self, *auxiliary: str) -> Graph:
        return Graph(tuple(self.nodes), self.dims, auxiliary)
