"""Probabilistic U-Net in PyTorch. `unet_jax/families/probabilistic_unet.py` is the same in Flax.

For the figure and the departures from the paper, see `unet_spec/families/probabilistic_unet.py`.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from unet_spec.families.probabilistic_unet import ProbabilisticUNetConfig

from ..network import Loss, Network
from ..nn.blocks import UpBlock
from ..nn.layers import Layers
from ..registry import register
from ..shapes import Image, Labels, Scalar, Weights

Gaussian = tuple[Float[Tensor, "n latent"], Float[Tensor, "n latent"]]
"""Mean and logarithm of the standard deviation of a diagonal Gaussian."""


class ConvStack(nn.Module):
    """Several convolutions with ReLU. `pool`: average pooling to half the size first."""

    def __init__(self, layers: Layers, channels_in: int, width: int, count: int, kernel: int = 3, pool: bool = False):
        super().__init__()
        widths = [channels_in, *[width] * count]
        self.pool = layers.avg_pool() if pool else nn.Identity()
        self.convs = nn.ModuleList([layers.conv(widths[k], width, kernel) for k in range(count)])
        self.acts = nn.ModuleList([layers.act() for _ in range(count)])

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n k *out"]:
        x = self.pool(x)
        for conv, act in zip(self.convs, self.acts, strict=True):
            x = act(conv(x))
        return x


def encoder(layers: Layers, config: ProbabilisticUNetConfig, channels_in: int) -> nn.ModuleList:
    """One block per width, with pooling before all but the first."""
    ins, widths = (channels_in, *config.widths), config.widths
    blocks = (ConvStack(layers, ins[i], w, config.convolutions, pool=i > 0) for i, w in enumerate(widths))
    return nn.ModuleList(blocks)


class FeatureUNet(nn.Module):
    """The U-Net without a head."""

    def __init__(self, layers: Layers, config: ProbabilisticUNetConfig):
        super().__init__()
        widths = config.widths
        self.encoder = encoder(layers, config, config.in_channels)
        self.decoder = nn.ModuleList()
        for i in reversed(range(len(widths) - 1)):
            block = ConvStack(layers, widths[i + 1] + widths[i], widths[i], config.convolutions)
            self.decoder.append(UpBlock(layers.upsample(), block))

    def forward(self, image: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n k *spatial"]:
        x, skips = image, []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        skips.pop()
        for up in self.decoder:
            x = up(x, skips.pop())
        return x


class GaussianEncoder(nn.Module):
    """Computes a diagonal Gaussian over the latent space from an image."""

    def __init__(self, layers: Layers, config: ProbabilisticUNetConfig, channels_in: int):
        super().__init__()
        self.encoder = encoder(layers, config, channels_in)
        self.pool = layers.global_avg_pool()
        self.head = layers.conv(config.widths[-1], 2 * config.latent, 1)

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Gaussian:
        """Mean and logarithm of the standard deviation."""
        for block in self.encoder:
            x = block(x)
        x = self.head(self.pool(x))
        mean, log_std = x.flatten(1).chunk(2, dim=1)
        return mean, log_std


class Combiner(ConvStack):
    """1x1 convolutions over the features and the sample, which is repeated at every pixel."""

    def __init__(self, layers: Layers, config: ProbabilisticUNetConfig):
        width = config.widths[0]
        super().__init__(layers, width + config.latent, width, config.fcomb - 1, kernel=1)
        self.head = layers.conv(width, config.out_channels, 1)

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n k *spatial"]:
        return self.head(super().forward(x))


def join(features: Float[Tensor, "n_or_1 c *spatial"], z: Float[Tensor, "n latent"]) -> Float[Tensor, "n d *spatial"]:
    """Concatenates features and z at every pixel. Features of one image are repeated for all samples."""
    features = features.expand(z.shape[0], *features.shape[1:])  # len(z) would become a constant in an export
    z = z.reshape(*z.shape, *[1] * (features.dim() - 2)).expand(-1, -1, *features.shape[2:])
    return torch.cat([features, z], dim=1)


def class_numbers(labels: Shaped[Tensor, "*shape"], classes: int) -> Shaped[Tensor, "*shape"]:
    """The labels, with −1 for every number that is not a class, such as the ignore label. Labels must be signed."""
    return torch.where((labels >= 0) & (labels < classes), labels, -1)


def gaussian_divergence(of: Gaussian, against: Gaussian) -> Float[Tensor, " n"]:
    """KL(p ‖ q) of diagonal Gaussians p (`of`) and q (`against`): the sum over the latent axis of
    log(s_q / s_p) + (s_p² + (m_p − m_q)²) / 2 s_q² − ½."""
    (mean, log_std), (mean_q, log_std_q) = of, against
    ratio = torch.exp(2 * (log_std - log_std_q)) + torch.square(mean - mean_q) * torch.exp(-2 * log_std_q)
    return (log_std_q - log_std + (ratio - 1) / 2).sum(-1)


@register(ProbabilisticUNetConfig)
class ProbabilisticUNet(Network):
    """Probabilistic U-Net (Kohl et al. 2018, arXiv 1806.05034). Arguments as for `UNet`."""

    config: ProbabilisticUNetConfig

    def __init__(self, config: ProbabilisticUNetConfig, seed: int | None = 0):
        super().__init__(config)
        layers = Layers(config, norm="none")
        self.unet = FeatureUNet(layers, config)
        self.prior = GaussianEncoder(layers, config, config.in_channels)
        self.posterior = GaussianEncoder(layers, config, config.in_channels + 1)
        self.fcomb = Combiner(layers, config)
        self.initialize(seed)

    def forward(self, image: Image, noise: Float[Tensor, "s latent"] | None = None) -> Float[Tensor, "s k *spatial"]:
        """The logits (N, out_channels, *spatial) of an image (N, in_channels, *spatial).

        noise: (N, latent), standard normal; None: zeros, which gives the hypothesis at the prior's mean. For a single
        image, noise (S, latent) gives S hypotheses, and the U-Net runs once.
        """
        self.check(image)
        mean, log_std = self.prior(image)
        z = mean if noise is None else mean + torch.exp(log_std) * noise
        return self.fcomb(join(self.unet(image), z))

    def loss(self, of: Loss, image: Image, labels: Labels, weights: Weights | None = None) -> Scalar:
        """The negative ELBO per pixel: the loss `of` the logits of a posterior sample, plus beta / pixels times the
        divergence of the posterior from the prior (the paper, equation 4). The paper sums the cross entropy over the
        pixels; here everything is divided by their number, so that the scale is that of a mean."""
        noise = torch.randn(len(image), self.config.latent, dtype=image.dtype, device=image.device)
        logits, posterior, prior = self.reconstruct(image, labels, noise)
        kl = gaussian_divergence(posterior, prior).mean()
        return of(logits, labels, weights) + self.config.beta / math.prod(labels.shape[1:]) * kl

    def sample(self, image: Image, noise: Float[Tensor, "s n latent"]) -> Float[Tensor, "s n k *spatial"]:
        """Many samples per image, (S, N, out_channels, *spatial), for noise (S, N, latent). The U-Net runs once. The
        hypotheses are computed one after the other."""
        self.check(image)
        mean, log_std = self.prior(image)
        features = self.unet(image)
        return torch.stack([self.fcomb(join(features, mean + torch.exp(log_std) * eps)) for eps in noise])

    def reconstruct(
        self, image: Image, labels: Labels, noise: Float[Tensor, "n latent"]
    ) -> tuple[Float[Tensor, "n k *spatial"], Gaussian, Gaussian]:
        """The terms of the ELBO: the logits of a posterior sample, and (mean, log_std) of posterior and prior.

        Args:
            image: (N, in_channels, *spatial).
            labels: (N, *spatial), class numbers; the posterior treats any other number as no class.
            noise: (N, latent), standard normal.
        """
        self.check(image)
        segmentation = class_numbers(labels[:, None].to(image.dtype), self.config.classes)
        mean, log_std = self.posterior(torch.cat([image, segmentation], dim=1))
        logits = self.fcomb(join(self.unet(image), mean + torch.exp(log_std) * noise))
        return logits, (mean, log_std), self.prior(image)
