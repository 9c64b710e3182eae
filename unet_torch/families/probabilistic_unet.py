"""Probabilistic U-Net in PyTorch. `unet_jax/families/probabilistic_unet.py` is the same in Flax.

Probabilistic U-Net (Kohl et al. 2018, arXiv 1806.05034): as many plausible segmentations as one draws.

    image ─▶ unet ──────── features ─────────▶ [features, z] ─▶ fcomb ─▶ logits
      └────▶ prior ─▶ N(mean, std) ─▶ z = mean + std · noise ┘
    image, segmentation ─▶ posterior ─▶ N(mean, std)         in training only, where z is drawn from it

    prior, posterior: an encoder, the mean over the map, a 1x1 convolution to [mean, log std]
    fcomb: 1x1 convolutions; z is repeated at every pixel

The noise is an input of the network; where it is not given it is zero, and the output is that of the prior's mean.
Drawing again needs fcomb only: one image with noise for S samples gives S segmentations, and the rest is computed once.

Follows the PyTorch implementation that most use (stefanknegt): average pooling, three convolutions a scale, bilinear
interpolation with aligned corners, the segmentation as one channel of labels. The authors' TensorFlow code has one-hot
segmentations and five levels; where a label is no class (a pixel to be ignored), their posterior sees none, ours −1.
The loss is the ELBO (the paper, equation 4).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unet_spec.families import ProbabilisticUNetConfig
from unet_torch.blocks import Activation, Upsample
from unet_torch.families.layers import AvgPool, GlobalAvgPool, Layers
from unet_torch.network import Loss, Network


class PlainBlock(nn.Module):
    """Several times: convolution, ReLU."""

    def __init__(self, layers: Layers, channels_in: int, width: int, count: int, kernel: int = 3):
        super().__init__()
        widths = [channels_in, *[width] * count]
        self.convs = nn.ModuleList([layers.conv(widths[k], widths[k + 1], kernel) for k in range(count)])
        self.acts = nn.ModuleList([Activation("relu") for _ in range(count)])

    def forward(self, x: Tensor) -> Tensor:
        for conv, act in zip(self.convs, self.acts, strict=True):
            x = act(conv(x))
        return x


class DownBlock(PlainBlock):
    """Half the size by averaging, then a block."""

    def __init__(self, layers: Layers, channels_in: int, width: int, count: int):
        super().__init__(layers, channels_in, width, count)
        self.pool = AvgPool(layers.dims)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.pool(x))


class UpBlock(nn.Module):
    """Twice the size, joined with the skip as [upsampled, skip], then a block."""

    def __init__(self, layers: Layers, channels_in: int, width: int, count: int):
        super().__init__()
        self.up = Upsample(layers.dims, align_corners=True)
        self.block = PlainBlock(layers, channels_in + width, width, count)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.block(torch.cat([self.up(x), skip], dim=1))


def encoder(layers: Layers, config: ProbabilisticUNetConfig, channels_in: int) -> nn.ModuleList:
    """A block for every width, pooling before all but the first."""
    widths, count = config.widths, config.convolutions
    first = PlainBlock(layers, channels_in, widths[0], count)
    return nn.ModuleList([first, *(DownBlock(layers, widths[i - 1], widths[i], count) for i in range(1, len(widths)))])


class FeatureUNet(nn.Module):
    """The U-Net without a head."""

    def __init__(self, layers: Layers, config: ProbabilisticUNetConfig):
        super().__init__()
        widths = config.widths
        self.encoder = encoder(layers, config, config.in_channels)
        self.decoder = nn.ModuleList(
            [UpBlock(layers, widths[i + 1], widths[i], config.convolutions) for i in reversed(range(len(widths) - 1))]
        )

    def forward(self, image: Tensor) -> Tensor:
        x, skips = image, []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        skips.pop()
        for up in self.decoder:
            x = up(x, skips.pop())
        return x


class GaussianEncoder(nn.Module):
    """A diagonal Gaussian over the latent space, from an image."""

    def __init__(self, layers: Layers, config: ProbabilisticUNetConfig, channels_in: int):
        super().__init__()
        self.encoder = encoder(layers, config, channels_in)
        self.pool = GlobalAvgPool()
        self.head = layers.conv(config.widths[-1], 2 * config.latent, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the standard deviation, (N, latent) each."""
        for block in self.encoder:
            x = block(x)
        x = self.head(self.pool(x))
        mean, log_std = x.flatten(1).chunk(2, dim=1)
        return mean, log_std


class Combiner(PlainBlock):
    """1x1 convolutions over the features and, at every pixel, the sample."""

    def __init__(self, layers: Layers, config: ProbabilisticUNetConfig):
        width = config.widths[0]
        super().__init__(layers, width + config.latent, width, config.fcomb - 1, kernel=1)
        self.head = layers.conv(width, config.out_channels, 1)

    def forward(self, features: Tensor, z: Tensor) -> Tensor:
        """Logits (N, K, *spatial) of features (N, C, *spatial), or of one image, and samples (N, latent)."""
        features = features.expand(z.shape[0], *features.shape[1:])  # len(z) would be a constant in an export
        z = z.reshape(*z.shape, *[1] * (features.dim() - 2)).expand(-1, -1, *features.shape[2:])
        return self.head(super().forward(torch.cat([features, z], dim=1)))


def class_numbers(labels: Tensor, classes: int) -> Tensor:
    """The labels as they are, but −1 where one is no class: pixels to be ignored, by whatever number. Not for unsigned
    integers."""
    return torch.where((labels >= 0) & (labels < classes), labels, -1)


def gaussian_divergence(of: tuple[Tensor, Tensor], against: tuple[Tensor, Tensor]) -> Tensor:
    """KL(p ‖ q), (N,), of diagonal Gaussians p and q, each (mean, log std), (N, latent): the sum over the latent
    axis of log(s_q / s_p) + (s_p² + (m_p − m_q)²) / 2 s_q² − ½."""
    (mean, log_std), (mean_q, log_std_q) = of, against
    spread = torch.exp(2 * (log_std - log_std_q)) + torch.square(mean - mean_q) * torch.exp(-2 * log_std_q)
    return (log_std_q - log_std + (spread - 1) / 2).sum(-1)


class ProbabilisticUNet(Network):
    """Probabilistic U-Net (Kohl et al. 2018, arXiv 1806.05034).

    Args:
        config: the network.
        seed: of the initial weights; None: left to be loaded.
    """

    config: ProbabilisticUNetConfig

    def __init__(self, config: ProbabilisticUNetConfig, seed: int | None = 0):
        super().__init__(config)
        layers = Layers(config.spatial_dims)
        self.unet = FeatureUNet(layers, config)
        self.prior = GaussianEncoder(layers, config, config.in_channels)
        self.posterior = GaussianEncoder(layers, config, config.in_channels + 1)
        self.fcomb = Combiner(layers, config)
        self.initialize(seed)

    def forward(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """The logits (N, out_channels, *spatial) of an image (N, in_channels, *spatial).

        noise: (N, latent), standard normal; None: zeros, which gives the hypothesis of the prior's mean. For one image
        there may be noise for many hypotheses, (S, latent): so many logits come out, and the U-Net runs once.
        """
        self.check(image)
        mean, log_std = self.prior(image)
        z = mean if noise is None else mean + torch.exp(log_std) * noise
        return self.fcomb(self.unet(image), z)

    def loss(self, of: Loss, image: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """The ELBO with its sign turned, a pixel: `of` the logits of a sample of the posterior, plus beta / pixels
        times the divergence of the posterior from the prior (the paper, equation 4). The paper sums the cross entropy
        over the pixels; dividing all by their number keeps the scale of a mean."""
        noise = torch.randn(len(image), self.config.latent, dtype=image.dtype, device=image.device)
        logits, posterior, prior = self.reconstruct(image, labels, noise)
        kl = gaussian_divergence(posterior, prior).mean()
        return of(logits, labels, weights) + self.config.beta / math.prod(labels.shape[1:]) * kl

    def sample(self, image: Tensor, noise: Tensor) -> Tensor:
        """Many hypotheses of each image, (S, N, out_channels, *spatial), for noise (S, N, latent). The U-Net runs once,
        and the hypotheses come one after the other."""
        self.check(image)
        mean, log_std = self.prior(image)
        features = self.unet(image)
        return torch.stack([self.fcomb(features, mean + torch.exp(log_std) * eps) for eps in noise])

    def reconstruct(
        self, image: Tensor, labels: Tensor, noise: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The logits of a sample of the posterior, and (mean, log_std) of posterior and prior: what the ELBO is made
        of.

        Args:
            image: (N, in_channels, *spatial).
            labels: (N, *spatial), class numbers; any other number is no class to the posterior.
            noise: (N, latent), standard normal.
        """
        self.check(image)
        segmentation = class_numbers(labels[:, None].to(image.dtype), self.config.classes)
        mean, log_std = self.posterior(torch.cat([image, segmentation], dim=1))
        logits = self.fcomb(self.unet(image), mean + torch.exp(log_std) * noise)
        return logits, (mean, log_std), self.prior(image)
