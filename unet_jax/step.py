"""One training step: augmentation, forward, loss, backward, optimizer, all in one jitted function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

from unet_jax.augment import augment
from unet_jax.losses import cross_entropy
from unet_jax.settings import TrainSettings
from unet_jax.unet import UNet

TrainState = dict[str, Any]
"""params and stats (nnx states), opt (optax's), step (int32): all that a step changes."""


def optimizer(settings: TrainSettings) -> optax.GradientTransformation:
    """Clipping, then AdamW or SGD with momentum, under the schedule. Weights decay; biases and norms do not."""
    peak = settings.learning_rate or 1e-3
    if settings.schedule == "cosine":
        warmup = min(round(settings.steps * settings.warmup), settings.steps - 1)
        rate = optax.warmup_cosine_decay_schedule(0.0 if warmup else peak, peak, warmup, settings.steps)
    else:
        rate = peak

    def kernels(params: Any) -> Any:
        return jax.tree.map(lambda p: p.ndim > 1, params)

    parts = [optax.clip_by_global_norm(settings.clip)] if settings.clip else []
    if settings.optimizer == "adamw":
        parts.append(optax.adamw(rate, weight_decay=settings.weight_decay, mask=kernels))
    else:  # the decay is part of the gradient, before the momentum, as PyTorch's SGD has it
        parts.append(optax.add_decayed_weights(settings.weight_decay, mask=kernels))
        parts.append(optax.sgd(rate, momentum=settings.momentum))
    return optax.chain(*parts)


def initial_state(model: UNet, settings: TrainSettings) -> tuple[Any, TrainState]:
    """The model's structure and the state of a run before its first step."""
    graphdef, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    opt = optimizer(settings).init(params)
    return graphdef, {"params": params, "stats": stats, "opt": opt, "step": jnp.zeros((), jnp.int32)}


def make_step(
    graphdef: Any, settings: TrainSettings, tile: tuple[int, ...], mean: Array, std: Array
) -> Callable[[TrainState, Array, Array], tuple[TrainState, Array]]:
    """The step: (state, images (N, *window, C) as read, labels (N, *window)) to (state, loss). The state is donated.

    Images become (x − mean) / std in float32, mean and std in the images' own units, one number a channel. Random
    numbers follow from the seed and the step's number, so a resumed run draws what the uninterrupted one would have
    drawn.
    """
    update = optimizer(settings)

    def loss_of(params: Any, stats: Any, images: Array, labels: Array, key: Array) -> tuple[Array, Any]:
        model = nnx.merge(graphdef, params, stats, copy=True)  # its statistics change at this trace level
        loss = cross_entropy(model(images, nnx.Rngs(dropout=key)), labels, smoothing=settings.smoothing)
        return loss, nnx.state(model, nnx.BatchStat)

    def step(state: TrainState, images: Array, labels: Array) -> tuple[TrainState, Array]:
        key = jax.random.fold_in(jax.random.key(settings.seed), state["step"])
        warp, drop = jax.random.split(key)
        images, labels = augment(warp, (images.astype(jnp.float32) - mean) / std, labels, tile, settings.augmentation)
        gradient = jax.value_and_grad(loss_of, has_aux=True)
        (loss, stats), grads = gradient(state["params"], state["stats"], images, labels, drop)
        moves, opt = update.update(grads, state["opt"], state["params"])
        params = optax.apply_updates(state["params"], moves)
        return {"params": params, "stats": stats, "opt": opt, "step": state["step"] + 1}, loss

    return jax.jit(step, donate_argnums=0)
