"""The noise that turns one image into many hypotheses, in networks that have a latent variable."""

from __future__ import annotations

import numpy as np

from unet_spec.errors import InputError
from unet_spec.graph import Graph, Node
from unet_spec.ops import LatentInput


def noise_input(graph: Graph) -> Node | None:
    """Where noise enters, or None: most networks have no latent variable."""
    return next((node for node in graph if isinstance(node.op, LatentInput)), None)


def check_noise(graph: Graph, images: int, noise: np.ndarray) -> str:
    """The name of the input that the noise is for. Raises InputError where there is none, and unless the noise is
    (images, features), or (samples, features) for a single image."""
    node = noise_input(graph)
    if node is None:
        raise InputError("this network has no latent variable: it makes one hypothesis of an image, and takes no noise")
    features = node.op.channels()
    if noise.ndim != 2 or noise.shape[1] != features or not len(noise) or (images != 1 and len(noise) != images):
        count = "1 or more" if images == 1 else images
        raise InputError(f"the noise has shape {noise.shape}; expected ({count}, {features})")
    return node.name


def draw_noise(graph: Graph, samples: int, *seed: int) -> np.ndarray:
    """(samples, features) float32, standard normal; the same for the same seed, one number or several. Raises
    InputError where the network has no latent variable, and for fewer samples than one."""
    if samples < 1 or min(seed) < 0:
        raise InputError(f"samples is {samples} and seed {min(seed)}; they must be at least 1 and 0")
    node = noise_input(graph)
    noise = np.random.default_rng(seed).standard_normal((samples, node.op.channels() if node else 0), np.float32)
    check_noise(graph, 1, noise)
    return noise
