"""An ensemble in PyTorch. `unet_jax/families/ensemble.py` is the same in Flax.

For the figure, see `unet_spec/families/ensemble.py`.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unet_spec.families.ensemble import EnsembleConfig

from ..network import Network
from ..registry import create, register
from ..shapes import Image, Logits


class ScaleShift(nn.Module):
    """weight · x + bias per channel, which no optimizer changes."""

    def __init__(self, features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(features), requires_grad=False)

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n c *spatial"]:
        column = (-1, *[1] * (x.ndim - 2))
        return x * self.weight.view(column) + self.bias.view(column)


class MeanProbability(nn.Module):
    """Averages the probabilities (softmax or sigmoid) of several logits and returns the logits of the mean."""

    def __init__(self, sigmoid: bool):
        super().__init__()
        self.sigmoid = sigmoid

    def forward(self, *logits: Float[Tensor, "n k *spatial"]) -> Float[Tensor, "n k *spatial"]:
        if not self.sigmoid:
            logs = torch.stack([F.log_softmax(x, dim=1) for x in logits])
            return torch.logsumexp(logs, dim=0) - math.log(len(logits))
        x = torch.stack(logits)
        inside, outside = F.logsigmoid(x), F.logsigmoid(-x)
        return torch.logsumexp(inside, dim=0) - torch.logsumexp(outside, dim=0)


@register(EnsembleConfig)
class Ensemble(Network):
    """The mean of several networks' probabilities (Lakshminarayanan et al. 2017). Arguments as for `UNet`."""

    config: EnsembleConfig

    def __init__(self, config: EnsembleConfig, seed: int | None = 0):
        super().__init__(config)
        count = range(config.members)
        self.scales = nn.ModuleList([ScaleShift(config.in_channels) for _ in count])
        self.members = nn.ModuleList([create(config.member, None) for _ in count])
        self.mean = MeanProbability(config.overlapping or config.out_channels == 1)
        self.head = ScaleShift(config.out_channels)
        self.initialize(seed)

    def forward(self, image: Image) -> Logits:
        """The logits (N, out_channels, *out) of an image (N, in_channels, *spatial): their softmax or sigmoid is the
        mean of the members' probabilities."""
        self.check(image)
        pairs = zip(self.scales, self.members, strict=True)
        return self.head(self.mean(*(member(scale(image)) for scale, member in pairs)))
