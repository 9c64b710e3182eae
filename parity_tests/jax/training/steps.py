"""A training step for the tests."""

import jax
import numpy as np

from unet_jax import UNet
from unet_jax.training.augmentation.augment import NONE
from unet_jax.training.run.values import RunValues
from unet_jax.training.settings import TrainSettings
from unet_jax.training.step import initial_state, make_step

from .small_runs import WITHOUT_DROPOUT

PLAIN = TrainSettings().replace(
    steps=100, tile=28, batch=2, optimizer="sgd", schedule="constant", learning_rate=0.1, momentum=0.0,
    weight_decay=0.0, clip=None, augmentation=NONE,
)  # fmt: skip


def batch(size=2, seed=0, weighted=False):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(size, 28, 28, 1)).astype(np.float32)
    labels = (images[..., 0] > 0).astype(np.int32)
    return (images, labels, rng.uniform(0, 3, labels.shape).astype(np.float32)) if weighted else (images, labels)


def started(settings, config=WITHOUT_DROPOUT):
    graphdef, state = initial_state(UNet(config, 0), settings)
    made, values = make_step(graphdef, settings, (28, 28)), RunValues.of(settings, [0.0], [1.0])

    def step(state, *given):
        return made(state, values, *given)

    step.count_compiled = made._cache_size
    return graphdef, state, step


def arrays(tree):
    return [np.array(leaf) for leaf in jax.tree.leaves(tree)]
