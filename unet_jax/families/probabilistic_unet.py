"""Probabilistic U-Net in Flax NNX. `unet_torch/families/probabilistic_unet.py` is the same in PyTorch.

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

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from unet_jax.blocks import Activation, Upsample, kept
from unet_jax.families.layers import AvgPool, GlobalAvgPool, Layers
from unet_jax.network import Loss, Network
from unet_spec.families import ProbabilisticUNetConfig
from unet_spec.geometry import check_image


class PlainBlock(nnx.Module):
    """Several times: convolution, ReLU."""

    def __init__(self, layers: Layers, channels_in: int, width: int, count: int, kernel: int = 3):
        widths = [channels_in, *[width] * count]
        self.convs = nnx.List([layers.conv(widths[k], widths[k + 1], kernel) for k in range(count)])
        self.acts = nnx.List([Activation("relu") for _ in range(count)])

    @kept
    def __call__(self, x: Array) -> Array:
        for conv, act in zip(self.convs, self.acts, strict=True):
            x = act(conv(x))
        return x


class DownBlock(PlainBlock):
    """Half the size by averaging, then a block."""

    def __init__(self, layers: Layers, channels_in: int, width: int, count: int):
        super().__init__(layers, channels_in, width, count)
        self.pool = AvgPool(layers.dims)

    def __call__(self, x: Array) -> Array:
        return super().__call__(self.pool(x))


class UpBlock(nnx.Module):
    """Twice the size, joined with the skip as [upsampled, skip], then a block."""

    def __init__(self, layers: Layers, channels_in: int, width: int, count: int):
        self.up = Upsample(layers.dims, align_corners=True)
        self.block = PlainBlock(layers, channels_in + width, width, count)

    def __call__(self, x: Array, skip: Array) -> Array:
        return self.block(jnp.concatenate([self.up(x), skip], axis=-1))


def encoder(layers: Layers, config: ProbabilisticUNetConfig, channels_in: int) -> nnx.List:
    """A block for every width, pooling before all but the first."""
    widths, count = config.widths, config.convolutions
    first = PlainBlock(layers, channels_in, widths[0], count)
    return nnx.List([first, *(DownBlock(layers, widths[i - 1], widths[i], count) for i in range(1, len(widths)))])


class FeatureUNet(nnx.Module):
    """The U-Net without a head."""

    def __init__(self, layers: Layers, config: ProbabilisticUNetConfig):
        widths = config.widths
        self.encoder = encoder(layers, config, config.in_channels)
        self.decoder = nnx.List(
            [UpBlock(layers, widths[i + 1], widths[i], config.convolutions) for i in reversed(range(len(widths) - 1))]
        )

    def __call__(self, image: Array) -> Array:
        x, skips = image, []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        skips.pop()
        for up in self.decoder:
            x = up(x, skips.pop())
        return x


class GaussianEncoder(nnx.Module):
    """A diagonal Gaussian over the latent space, from an image."""

    def __init__(self, layers: Layers, config: ProbabilisticUNetConfig, channels_in: int):
        self.encoder = encoder(layers, config, channels_in)
        self.pool = GlobalAvgPool()
        self.head = layers.conv(config.widths[-1], 2 * config.latent, 1)

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Mean and logarithm of the standard deviation, (N, latent) each."""
        for block in self.encoder:
            x = block(x)
        x = self.head(self.pool(x))
        mean, log_std = jnp.split(x.reshape(x.shape[0], x.shape[-1]), 2, axis=-1)
        return mean, log_std


class Combiner(PlainBlock):
    """1x1 convolutions over the features and, at every pixel, the sample."""

    def __init__(self, layers: Layers, config: ProbabilisticUNetConfig):
        width = config.widths[0]
        super().__init__(layers, width + config.latent, width, config.fcomb - 1, kernel=1)
        self.head = layers.conv(width, config.out_channels, 1)

    def __call__(self, features: Array, z: Array) -> Array:
        """Logits (N, *spatial, K) of features (N, *spatial, C), or of one image, and samples (N, latent)."""
        features = jnp.broadcast_to(features, (z.shape[0], *features.shape[1:]))
        z = jnp.expand_dims(z, tuple(range(1, features.ndim - 1)))
        z = jnp.broadcast_to(z, (*features.shape[:-1], z.shape[-1]))
        return self.head(super().__call__(jnp.concatenate([features, z], axis=-1)))


def class_numbers(labels: Array, classes: int) -> Array:
    """The labels as they are, but −1 where one is no class: pixels to be ignored, by whatever number. Not for unsigned
    integers."""
    return jnp.where((labels >= 0) & (labels < classes), labels, -1)


def gaussian_divergence(of: tuple[Array, Array], against: tuple[Array, Array]) -> Array:
    """KL(p ‖ q), (N,), of diagonal Gaussians p and q, each (mean, log std), (N, latent): the sum over the latent
    axis of log(s_q / s_p) + (s_p² + (m_p − m_q)²) / 2 s_q² − ½."""
    (mean, log_std), (mean_q, log_std_q) = of, against
    spread = jnp.exp(2 * (log_std - log_std_q)) + jnp.square(mean - mean_q) * jnp.exp(-2 * log_std_q)
    return (log_std_q - log_std + (spread - 1) / 2).sum(-1)


class ProbabilisticUNet(Network):
    """Probabilistic U-Net (Kohl et al. 2018, arXiv 1806.05034).

    Args:
        config: the network.
        seed: of the initial weights; None: all 0, to be loaded.
        dtype: of the parameters.
    """

    config: ProbabilisticUNetConfig

    def __init__(self, config: ProbabilisticUNetConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        super().__init__(config)
        layers = Layers(config.spatial_dims, dtype)
        self.unet = FeatureUNet(layers, config)
        self.prior = GaussianEncoder(layers, config, config.in_channels)
        self.posterior = GaussianEncoder(layers, config, config.in_channels + 1)
        self.fcomb = Combiner(layers, config)
        self.initialize(seed, dtype)

    def __call__(self, image: Array, rngs: nnx.Rngs | None = None, noise: Array | None = None) -> Array:
        """The logits (N, *spatial, out_channels) of an image (N, *spatial, in_channels).

        noise: (N, latent), standard normal; None: zeros, which gives the hypothesis of the prior's mean. For one image
        there may be noise for many hypotheses, (S, latent): so many logits come out, and the U-Net runs once.
        """
        check_image(self.config.graph, image.shape)
        mean, log_std = self.prior(image)
        z = mean if noise is None else mean + jnp.exp(log_std) * noise
        return self.fcomb(self.unet(image), z)

    def loss(self, of: Loss, image: Array, labels: Array, weights: Array | None, rngs: nnx.Rngs) -> Array:
        """The ELBO with its sign turned, a pixel: `of` the logits of a sample of the posterior, plus beta / pixels
        times the divergence of the posterior from the prior (the paper, equation 4). The paper sums the cross entropy
        over the pixels; dividing all by their number keeps the scale of a mean."""
        noise = jax.random.normal(rngs.dropout(), (len(image), self.config.latent), image.dtype)
        logits, posterior, prior = self.reconstruct(image, labels, noise)
        kl = gaussian_divergence(posterior, prior).mean()
        return of(logits, labels, weights) + self.config.beta / math.prod(labels.shape[1:]) * kl

    def sample(self, image: Array, noise: Array) -> Array:
        """Many hypotheses of each image, (S, N, *spatial, out_channels), for noise (S, N, latent). The U-Net runs once,
        and the hypotheses come one after the other, so that memory holds one at a time."""
        check_image(self.config.graph, image.shape)
        mean, log_std = self.prior(image)
        features = self.unet(image)
        return jax.lax.map(lambda eps: self.fcomb(features, mean + jnp.exp(log_std) * eps), noise)

    def reconstruct(
        self, image: Array, labels: Array, noise: Array
    ) -> tuple[Array, tuple[Array, Array], tuple[Array, Array]]:
        """The logits of a sample of the posterior, and (mean, log_std) of posterior and prior: what the ELBO is made
        of.

        Args:
            image: (N, *spatial, in_channels).
            labels: (N, *spatial), class numbers; any other number is no class to the posterior.
            noise: (N, latent), standard normal.
        """
        check_image(self.config.graph, image.shape)
        segmentation = class_numbers(labels[..., None].astype(image.dtype), self.config.classes)
        mean, log_std = self.posterior(jnp.concatenate([image, segmentation], axis=-1))
        logits = self.fcomb(self.unet(image), mean + jnp.exp(log_std) * noise)
        return logits, (mean, log_std), self.prior(image)
