"""Attention U-Net (Oktay et al. 2018, arXiv 1804.03999), as in MONAI 1.5 (monai.networks.nets.AttentionUnet).

    encoder.0 ────────── skip ─▶ gate ─▶ decoder.1 ─▶ head      gate: skip · σ(psi(ReLU(w_g · g + w_x · skip)))
      └ stride 2 ▶ encoder.1 ──▶ gate ─▶ decoder.0 ┘ up = g     all three 1x1 convolutions with batch norm
                     └ stride 2 ▶ encoder.2 ───────┘ up = g

That implementation differs from the paper: the gating signal is the upsampled map, which has the size of the skip, so
that the gate is not resampled; strided convolutions replace pooling; 3x3 transposed convolutions have batch norm and
ReLU; the decoder merges [gated skip, upsampled] by a convolution, an instance norm without scale and shift, and PReLU.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..graph import Graph
from ..network import Family, NetworkConfig, require_norm, require_widths
from ..ops import Add, Multiply, PReLU, Sigmoid
from .builder import Builder


@dataclass(frozen=True)
class AttentionUNetConfig(NetworkConfig, architecture="attention-unet"):
    """Attention U-Net.

    Padding is always "same": the gate multiplies the skip by a map of the same size, and the instance norms depend on
    the whole image, so that valid convolutions would not make tiles exact.

    Attributes:
        in_channels, out_channels, spatial_dims: as in every network.
        widths: feature maps per level, from the finest to the bottleneck. Inside a gate there are half as many.
        norm_eps: added to the variance.
        norm_momentum: share of the new batch in the running statistics (PyTorch's convention).
    """

    in_channels: int = 1
    out_channels: int = 2
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    spatial_dims: int = 2
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1

    def validate(self) -> None:
        require_widths(self.widths)
        require_norm(self.norm_eps, self.norm_momentum)

    def build(self) -> Graph:
        return build(self)


def build(config: AttentionUNetConfig) -> Graph:
    b = Builder(config.in_channels, config.spatial_dims)

    def norm(name: str, x: str) -> str:
        return b.batch_norm(name, x, config.norm_eps, config.norm_momentum)

    x, skips = "input", []
    for i, width in enumerate(config.widths):
        for k in (1, 2):
            stride = 2 if i and k == 1 else 1
            x = b.conv(f"encoder.{i}.conv{k}", x, width, stride=stride)
            x = b.relu(f"encoder.{i}.act{k}", norm(f"encoder.{i}.norm{k}", x))
        skips.append(x)
    skips.pop()
    for i, width in enumerate(reversed(config.widths[:-1])):
        name, skip = f"decoder.{i}", skips.pop()
        up = b.up_conv(f"{name}.up", x, width, 3, cut=(1, 0))
        up = b.relu(f"{name}.up_act", norm(f"{name}.up_norm", up))
        inner = max(width // 2, 1)
        g = norm(f"{name}.gate.norm_g", b.conv(f"{name}.gate.w_g", up, inner, 1))
        s = norm(f"{name}.gate.norm_x", b.conv(f"{name}.gate.w_x", skip, inner, 1))
        gate = b.relu(f"{name}.gate.act", b.add(f"{name}.gate.add", Add(), g, s))
        gate = norm(f"{name}.gate.norm_psi", b.conv(f"{name}.gate.psi", gate, 1, 1))
        gate = b.add(f"{name}.gate.sigmoid", Sigmoid(), gate)
        gated = b.add(f"{name}.gate.multiply", Multiply(), skip, gate)
        x = b.conv(f"{name}.merge", b.concat(f"{name}.concat", gated, up), width)
        x = b.norm("plain", f"{name}.merge_norm", x, config.norm_eps)
        x = b.add(f"{name}.merge_act", PReLU(), x)
    b.conv("head", x, config.out_channels, 1)
    return b.graph()


FAMILY = Family(
    AttentionUNetConfig,
    when="Small structures in a large field, where most of a skip is background.",
    image_size=256,
    presets={"attention-unet": AttentionUNetConfig()},
    tests={
        "attention-unet": AttentionUNetConfig(widths=(4, 6), in_channels=2),
        "attention-unet-3d": AttentionUNetConfig(widths=(4, 5), spatial_dims=3),
    },
)
