"""A latent variable: its operations, and the noise that turns one image into many hypotheses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import InputError
from .base import Node, Op
from .pointwise import Input


@dataclass(frozen=True)
class LatentInput(Input):
    """The input for standard normal noise: a map of one pixel with `features` channels, zero by default."""

    kind: ClassVar[str] = "latent_input"

    def output_size(self, axis: int, *sizes: int) -> int:
        return 1


@dataclass(frozen=True)
class LatentSample(Op):
    """mean + exp(log_std) · noise: a sample of a diagonal Gaussian (Kingma and Welling 2014, section 2.4).

    The first input has 2 · features channels, [mean, log_std]; the second is the noise, with features channels.
    """

    kind: ClassVar[str] = "latent_sample"
    features: int

    def channels(self, *inputs: int) -> int:
        return self.features

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        mean, log_std = np.split(inputs[0], 2, axis=-1)
        return mean + np.exp(log_std) * inputs[1]


@dataclass(frozen=True)
class ClassNumbers(Op):
    """Replaces every label that is not a class number by −1, which marks pixels to ignore."""

    kind: ClassVar[str] = "class_numbers"
    classes: int

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        (labels,) = inputs
        return np.where((labels >= 0) & (labels < self.classes), labels, np.asarray(-1, labels.dtype))

    def summary(self) -> str:
        return str(self.classes)


def noise_input(graph: Iterable[Node]) -> Node | None:
    """The node of the noise input, or None for a network without a latent variable."""
    return next((node for node in graph if isinstance(node.op, LatentInput)), None)


def check_noise(graph: Iterable[Node], images: int, noise: np.ndarray) -> str:
    """Checks the shape of the noise and returns the name of the noise input.

    Args:
        graph: graph of a network with a latent variable.
        images: number of images in the batch.
        noise: (images, features), or (samples, features) for a single image.

    Raises:
        InputError: no latent variable, or noise of another shape.
    """
    node = noise_input(graph)
    if node is None:
        raise InputError(
            "this network has no latent variable: it gives one segmentation per image and has no noise input"
        )
    features = node.op.channels()
    if noise.ndim != 2 or noise.shape[1] != features or not len(noise) or (images != 1 and len(noise) != images):
        count = "1 or more" if images == 1 else images
        raise InputError(f"the noise has shape {noise.shape}; expected ({count}, {features})")
    return node.name


MAX_SAMPLES = 10_000
"""Maximum number of samples. Each one is a segmentation; a larger number is a mistake and could exhaust memory."""


def draw_noise(graph: Iterable[Node], samples: int, *seed: int) -> np.ndarray:
    """(samples, features) float32, standard normal.

    Args:
        graph: graph of a network with a latent variable.
        samples: how many hypotheses to draw, 1 to 10,000.
        seed: one number or several, at least 0; the same ones give the same noise.

    Raises:
        InputError: no latent variable, or a number out of its range.

    Example:
        >>> from unet_spec import preset
        >>> draw_noise(preset("probabilistic-unet").graph, 8, 0).shape
        (8, 6)
    """
    if samples < 1 or min(seed) < 0:
        raise InputError(f"samples is {samples} and seed {min(seed)}; they must be at least 1 and 0")
    if samples > MAX_SAMPLES:
        raise InputError(f"samples is {samples}; at most {MAX_SAMPLES} can be drawn")
    node = noise_input(graph)
    noise = np.random.default_rng(seed).standard_normal((samples, node.op.channels() if node else 0), np.float32)
    check_noise(graph, 1, noise)
    return noise
