"""From a prepared batch to the loss: precision, rematerialisation, the network, the chosen loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from unet_data import IGNORED
from unet_jax.losses import cross_entropy, dice_loss, focal_loss, tversky_loss
from unet_jax.network import Loss, Network
from unet_jax.settings import TrainSettings


def loss_function(settings: TrainSettings) -> Loss:
    """The loss that the settings name. Dice and Tversky count every pixel alike; the others use the weights. Ignored
    pixels count in none."""
    ignore = None if settings.ignore is None else IGNORED
    match settings.loss:
        case "cross_entropy":
            return lambda z, y, w: cross_entropy(z, y, w, ignore, settings.smoothing)
        case "cross_entropy+dice":
            return lambda z, y, w: cross_entropy(z, y, w, ignore, settings.smoothing) + dice_loss(z, y, ignore=ignore)
        case "dice":
            return lambda z, y, w: dice_loss(z, y, ignore=ignore)
        case "tversky":
            alpha, beta = settings.tversky_alpha, settings.tversky_beta
            return lambda z, y, w: tversky_loss(z, y, ignore=ignore, alpha=alpha, beta=beta)
    return lambda z, y, w: focal_loss(z, y, w, ignore, settings.focal_gamma)


def model_loss(model: Network, settings: TrainSettings) -> Callable[..., Array]:
    """(images, labels, weights or None, dropout key) to the loss of a model, which keeps its new statistics."""
    loss_of = loss_function(settings)

    def of(logits: Array, labels: Array, weights: Array | None) -> Array:
        return loss_of(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), labels, weights)  # float64 stays

    def run(images: Array, labels: Array, weights: Array | None, key: Array) -> Array:
        return model.loss(of, images, labels, weights, nnx.Rngs(dropout=key))

    return run


def make_objective(graphdef: Any, settings: TrainSettings, cpu_step: bool = False) -> Callable[..., tuple[Array, Any]]:
    """(params, stats, images, labels, weights or None, dropout key) to (loss, new stats); differentiable in params.

    In bfloat16 the float32 weights are rounded at each use, so gradients arrive in float32. With `remat`, only the
    outputs of the blocks are kept for the backward pass, and what lies between is computed again. cpu_step: with
    what is faster on one CPU (`unet_jax.convolution`).
    """

    def objective(
        params: Any, stats: Any, images: Array, labels: Array, weights: Array | None, key: Array
    ) -> tuple[Array, Any]:
        if settings.precision == "bfloat16":
            params, images = jax.tree.map(lambda x: x.astype(jnp.bfloat16), (params, images))
        model = nnx.merge(graphdef, params, stats, copy=True)  # its statistics change at this trace level
        if cpu_step:
            model.set_attributes(cpu_step=True, raise_if_not_found=False)
        loss = model_loss(model, settings)(images, labels, weights, key)
        return loss, nnx.state(model, nnx.BatchStat)

    if settings.remat:
        return jax.checkpoint(objective, policy=jax.checkpoint_policies.save_only_these_names("block"))
    return objective
