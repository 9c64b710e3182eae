"""Probabilistic U-Net (Kohl et al. 2018, arXiv 1806.05034): samples any number of plausible segmentations.

    image ─▶ unet ──────── features ─────────▶ [features, z] ─▶ fcomb ─▶ logits
      └────▶ prior ─▶ N(mean, std) ─▶ z = mean + std · noise ┘
    image, segmentation ─▶ posterior ─▶ N(mean, std)         only in training, where z is sampled from it

    prior, posterior: an encoder, the mean over the map, a 1x1 convolution to [mean, log std]
    fcomb: 1x1 convolutions; z is repeated at every pixel

The noise is an input of the network. By default it is zero, and the output is that of the prior's mean. One image with
noise for S samples gives S segmentations; only fcomb is computed S times.

It follows the most used PyTorch implementation (stefanknegt): average pooling, three convolutions per scale, bilinear
interpolation with aligned corners, the segmentation as one channel of labels. The authors' TensorFlow code has one-hot
segmentations and five levels; there, an ignored pixel has no class in the posterior's input, here it is −1. The loss is
the ELBO (equation 4 of the paper).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..graph import Graph
from ..network import Family, NetworkConfig, require, require_widths
from ..ops import ClassNumbers, ExpandLike, GlobalAvgPool, Input, LatentInput, LatentSample, RepeatLike
from .builder import Builder

NOISE, SEGMENTATION = "noise", "segmentation"


@dataclass(frozen=True)
class ProbabilisticUNetConfig(NetworkConfig, architecture="probabilistic-unet"):
    """Probabilistic U-Net.

    Padding is always "same": prior and posterior average over the whole image, so that valid convolutions would not
    make tiles exact, and the posterior needs a segmentation of the image's size.

    Attributes:
        in_channels, out_channels, spatial_dims: as in every network.
        widths: feature maps per level of the U-Net, the prior and the posterior.
        convolutions: number of 3x3 convolutions per block.
        latent: dimensions of the latent space.
        fcomb: number of 1x1 convolutions that combine features and sample, including the last one.
        beta: weight of the KL term in the loss.
    """

    in_channels: int = 1
    out_channels: int = 1
    widths: tuple[int, ...] = (32, 64, 128, 192)
    spatial_dims: int = 2
    convolutions: int = 3
    latent: int = 6
    fcomb: int = 4
    beta: float = 10.0

    def validate(self) -> None:
        require_widths(self.widths)
        for name in ("convolutions", "latent"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.fcomb >= 2, "fcomb", self.fcomb, "at least 2")
        require(self.beta >= 0, "beta", self.beta, "at least 0")

    def build(self) -> Graph:
        return build(self)


def build(config: ProbabilisticUNetConfig) -> Graph:
    b = Builder(config.in_channels, config.spatial_dims)
    b.add(NOISE, LatentInput(config.latent))
    b.add(SEGMENTATION, Input(1))

    def block(name: str, x: str, width: int) -> str:
        for k in range(config.convolutions):
            x = b.relu(f"{name}.acts.{k}", b.conv(f"{name}.convs.{k}", x, width))
        return x

    def encoder(name: str, x: str) -> list[str]:
        maps = []
        for i, width in enumerate(config.widths):
            if i:
                x = b.avg_pool(f"{name}.{i}.pool", x)
            x = block(f"{name}.{i}", x, width)
            maps.append(x)
        return maps

    def gaussian(name: str, x: str) -> str:
        pooled = b.add(f"{name}.pool", GlobalAvgPool(), encoder(f"{name}.encoder", x)[-1])
        return b.conv(f"{name}.head", pooled, 2 * config.latent, 1)

    labels = b.add("posterior.labels", ClassNumbers(config.classes), SEGMENTATION)
    gaussian("posterior", b.concat("posterior.concat", "input", labels))
    *skips, x = encoder("unet.encoder", "input")
    for i, width in enumerate(reversed(config.widths[:-1])):
        up = b.upsample(f"unet.decoder.{i}.up", x)
        x = block(f"unet.decoder.{i}.block", b.concat(f"unet.decoder.{i}.concat", up, skips.pop()), width)
    z = b.add("sample", LatentSample(config.latent), gaussian("prior", "input"), NOISE)
    x = b.add("fcomb.repeat", RepeatLike(), x, z)
    x = b.concat("fcomb.concat", x, b.add("fcomb.expand", ExpandLike(), z, x))
    for k in range(config.fcomb - 1):
        x = b.relu(f"fcomb.acts.{k}", b.conv(f"fcomb.convs.{k}", x, config.widths[0], 1))
    b.conv("fcomb.head", x, config.out_channels, 1)
    return b.graph("prior.head", "posterior.head")


FAMILY = Family(
    ProbabilisticUNetConfig,
    when="Annotators disagree: the network samples whole segmentations, each consistent in itself.",
    image_size=128,
    presets={"probabilistic-unet": ProbabilisticUNetConfig()},
    narrow={"probabilistic-unet": ProbabilisticUNetConfig(widths=(8, 16, 32, 48))},
    tests={
        "probabilistic-unet": ProbabilisticUNetConfig(widths=(4, 5), latent=3, convolutions=2),
        "probabilistic-unet-3d": ProbabilisticUNetConfig(widths=(2, 3), latent=2, convolutions=1, spatial_dims=3),
    },
)
