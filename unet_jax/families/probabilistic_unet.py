"""Probabilistic U-Net in Flax NNX. `unet_torch/families/probabilistic_unet.py` is the same in PyTorch.

For the figure and the departures from the paper, see `unet_spec/families/probabilistic_unet.py`.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Shaped

from unet_spec.families.probabilistic_unet import ProbabilisticUNetConfig

from ..network import Loss, Network
from ..nn.blocks import UpBlock
from ..nn.layers import Layers
from ..nn.pointwise import Identity
from ..nn.remat import remat_boundary
from ..registry import register
from ..shapes import Image, Labels, Scalar, Weights

Gaussian = tuple[Float[Array, "n latent"], Float[Array, "n latent"]]
"""Mean and logarithm of the standard deviation of a diagonal Gaussian."""


class ConvStack(nnx.Module):
    """Several convolutions with ReLU. `pool`: average pooling to half the size first."""

    def __init__(self, layers: Layers, channels_in: int, width: int, count: int, kernel: int = 3, pool: bool = False):
        widths = [channels_in, *[width] * count]
        self.pool = layers.avg_pool() if pool else Identity()
        self.convs = nnx.List([layers.conv(widths[k], width, kernel) for k in range(count)])
        self.acts = nnx.List([layers.act() for _ in range(count)])

    @remat_boundary
    def __call__(self, x: Float[Array, "n *spatial c"], rngs: nnx.Rngs | None = None) -> Float[Array, "n *out k"]:
        x = self.pool(x)
        for conv, act in zip(self.convs, self.acts, strict=True):
            x = act(conv(x))
        return x


def encoder(layers: Layers, config: ProbabilisticUNetConfig, channels_in: int) -> nnx.List:
    """One block per width, with pooling before all but the first."""
    ins, widths = (channels_in, *config.widths), config.widths
    blocks = (ConvStack(layers, ins[i], w, config.convolutions, pool=i > 0) for i, w in enumerate(widths))
    return nnx.List(blocks)


class FeatureUNet(nnx.Module):
    """The U-Net without a head."""

    def __init__(self, layers: Layers, config: ProbabilisticUNetConfig):
        widths = config.widths
        self.encoder = encoder(layers, config, config.in_channels)
        self.decoder = nnx.List([])
        for i in reversed(range(len(widths) - 1)):
            block = ConvStack(layers, widths[i + 1] + widths[i], widths[i], config.convolutions)
            self.decoder.append(UpBlock(layers.upsample(), block))

    def __call__(self, image: Float[Array, "n *spatial c"]) -> Float[Array, "n *spatial k"]:
        x, skips = image, []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        skips.pop()
        for up in self.decoder:
            x = up(x, skips.pop())
        return x


class GaussianEncoder(nnx.Module):
    """Computes a diagonal Gaussian over the latent space from an image."""

    def __init__(self, layers: Layers, config: ProbabilisticUNetConfig, channels_in: int):
        self.encoder = encoder(layers, config, channels_in)
        self.pool = layers.global_avg_pool()
        self.head = layers.conv(config.widths[-1], 2 * config.latent, 1)

    def __call__(self, x: Float[Array, "n *spatial c"]) -> Gaussian:
        """Mean and logarithm of the standard deviation."""
        for block in self.encoder:
            x = block(x)
        x = self.head(self.pool(x))
        mean, log_std = jnp.split(x.reshape(x.shape[0], x.shape[-1]), 2, axis=-1)
        return mean, log_std


class Combiner(ConvStack):
    """1x1 convolutions over the features and the sample, which is repeated at every pixel."""

    def __init__(self, layers: Layers, config: ProbabilisticUNetConfig):
        width = config.widths[0]
        super().__init__(layers, width + config.latent, width, config.fcomb - 1, kernel=1)
        self.head = layers.conv(width, config.out_channels, 1)

    def __call__(self, x: Float[Array, "n *spatial c"], rngs: nnx.Rngs | None = None) -> Float[Array, "n *spatial k"]:
        return self.head(super().__call__(x))


def join(features: Float[Array, "n_or_1 *spatial c"], z: Float[Array, "n latent"]) -> Float[Array, "n *spatial d"]:
    """Concatenates features and z at every pixel. Features of one image are repeated for all samples."""
    features = jnp.broadcast_to(features, (z.shape[0], *features.shape[1:]))
    z = jnp.expand_dims(z, tuple(range(1, features.ndim - 1)))
    z = jnp.broadcast_to(z, (*features.shape[:-1], z.shape[-1]))
    return jnp.concatenate([features, z], axis=-1)


def class_numbers(labels: Shaped[Array, "*shape"], classes: int) -> Shaped[Array, "*shape"]:
    """The labels, with −1 for every number that is not a class, such as the ignore label. Labels must be signed."""
    return jnp.where((labels >= 0) & (labels < classes), labels, -1)


def gaussian_divergence(of: Gaussian, against: Gaussian) -> Float[Array, " n"]:
    """KL(p ‖ q) of diagonal Gaussians p (`of`) and q (`against`): the sum over the latent axis of
    log(s_q / s_p) + (s_p² + (m_p − m_q)²) / 2 s_q² − ½."""
    (mean, log_std), (mean_q, log_std_q) = of, against
    ratio = jnp.exp(2 * (log_std - log_std_q)) + jnp.square(mean - mean_q) * jnp.exp(-2 * log_std_q)
    return (log_std_q - log_std + (ratio - 1) / 2).sum(-1)


@register(ProbabilisticUNetConfig)
class ProbabilisticUNet(Network):
    """Probabilistic U-Net (Kohl et al. 2018, arXiv 1806.05034). Arguments as for `UNet`."""

    config: ProbabilisticUNetConfig

    def __init__(self, config: ProbabilisticUNetConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        super().__init__(config)
        layers = Layers(config, dtype, norm="none")
        self.unet = FeatureUNet(layers, config)
        self.prior = GaussianEncoder(layers, config, config.in_channels)
        self.posterior = GaussianEncoder(layers, config, config.in_channels + 1)
        self.fcomb = Combiner(layers, config)
        self.initialize(seed, dtype)

    def __call__(
        self, image: Image, rngs: nnx.Rngs | None = None, noise: Float[Array, "s latent"] | None = None
    ) -> Float[Array, "s *spatial k"]:
        """The logits (N, *spatial, out_channels) of an image (N, *spatial, in_channels).

        noise: (N, latent), standard normal; None: zeros, which gives the hypothesis at the prior's mean. For a single
        image, noise (S, latent) gives S hypotheses, and the U-Net runs once.
        """
        self.check(image)
        mean, log_std = self.prior(image)
        z = mean if noise is None else mean + jnp.exp(log_std) * noise
        return self.fcomb(join(self.unet(image), z))

    def loss(self, of: Loss, image: Image, labels: Labels, weights: Weights | None, rngs: nnx.Rngs) -> Scalar:
        """The negative ELBO per pixel: the loss `of` the logits of a posterior sample, plus beta / pixels times the
        divergence of the posterior from the prior (the paper, equation 4). The paper sums the cross entropy over the
        pixels; here everything is divided by their number, so that the scale is that of a mean."""
        noise = jax.random.normal(rngs.dropout(), (len(image), self.config.latent), image.dtype)
        logits, posterior, prior = self.reconstruct(image, labels, noise)
        kl = gaussian_divergence(posterior, prior).mean()
        return of(logits, labels, weights) + self.config.beta / math.prod(labels.shape[1:]) * kl

    def sample(self, image: Image, noise: Float[Array, "s n latent"]) -> Float[Array, "s n *spatial k"]:
        """Many samples per image, (S, N, *spatial, out_channels), for noise (S, N, latent). The U-Net runs once. The
        hypotheses are computed one after the other, to save memory."""
        self.check(image)
        mean, log_std = self.prior(image)
        features = self.unet(image)
        return jax.lax.map(lambda eps: self.fcomb(join(features, mean + jnp.exp(log_std) * eps)), noise)

    def reconstruct(
        self, image: Image, labels: Labels, noise: Float[Array, "n latent"]
    ) -> tuple[Float[Array, "n *spatial k"], Gaussian, Gaussian]:
        """The terms of the ELBO: the logits of a posterior sample, and (mean, log_std) of posterior and prior.

        Args:
            image: (N, *spatial, in_channels).
            labels: (N, *spatial), class numbers; the posterior treats any other number as no class.
            noise: (N, latent), standard normal.
        """
        self.check(image)
        segmentation = class_numbers(labels[..., None].astype(image.dtype), self.config.classes)
        mean, log_std = self.posterior(jnp.concatenate([image, segmentation], axis=-1))
        logits = self.fcomb(join(self.unet(image), mean + jnp.exp(log_std) * noise))
        return logits, (mean, log_std), self.prior(image)
