"""The objective function of training: network and loss, with precision and rematerialisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Key

from unet_data import IGNORED

from ..losses import (
    cross_entropy,
    dice_loss,
    focal_loss,
    overlapping_cross_entropy,
    overlapping_dice_loss,
    tversky_loss,
    with_distance,
)
from ..network import Loss, Network
from ..nn.convolution import Fixed
from ..shapes import Image, Labels, Logits, Scalar, Weights
from .settings import LossName, TrainSettings


def loss_function(settings: TrainSettings) -> Loss:
    """The loss chosen by the settings: a function of logits (N, *spatial, K), labels and weights (N, *spatial).

    Dice and Tversky weight all pixels equally; the others use the weights. No loss counts ignored pixels. The labels of
    overlapping classes are those of `unet_data.pack_masks`.
    """
    if settings.data.labels == "overlapping":
        return _overlapping(settings.loss.loss)
    ignore, chosen = None if settings.data.ignore is None else IGNORED, settings.loss
    match chosen.loss:
        case "cross_entropy":
            return lambda z, y, w: cross_entropy(z, y, w, ignore, chosen.smoothing)
        case "cross_entropy+dice":
            return lambda z, y, w: cross_entropy(z, y, w, ignore, chosen.smoothing) + dice_loss(z, y, ignore=ignore)
        case "dice":
            return lambda z, y, w: dice_loss(z, y, ignore=ignore)
        case "tversky":
            alpha, beta = chosen.tversky_alpha, chosen.tversky_beta
            return lambda z, y, w: tversky_loss(z, y, ignore=ignore, alpha=alpha, beta=beta)
    return lambda z, y, w: focal_loss(z, y, w, ignore, chosen.focal_gamma)


def _overlapping(name: LossName) -> Loss:
    parts = {"cross_entropy": overlapping_cross_entropy, "dice": overlapping_dice_loss}

    def of(logits: Logits, labels: Labels, weights: Weights | None) -> Scalar:
        masks = (labels[..., None] >> jnp.arange(logits.shape[-1])) & 1
        counted = (labels >= 0).astype(logits.dtype)
        losses = [parts[part](logits, masks, counted) for part in name.split("+")]
        return sum(losses[1:], losses[0])

    return of


def model_loss(model: Network, settings: TrainSettings, own: Loss | None = None) -> Callable[..., Scalar]:
    """Makes a function from (images, labels, weights or None, dropout key) to the loss of a model, whose statistics it
    updates. `own` replaces the loss of the settings. With a distance head, labels come from `unet_data.pack_distances`,
    and the loss of the distance is added."""
    loss_of = own or loss_function(settings)
    if model.config.distance_head:
        loss_of = with_distance(loss_of, settings.loss.distance_weight)

    def of(logits: Logits, labels: Labels, weights: Weights | None) -> Scalar:
        return loss_of(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), labels, weights)  # float64 stays

    def run(images: Image, labels: Labels, weights: Weights | None, key: Key[Array, ""]) -> Scalar:
        return model.loss(of, images, labels, weights, nnx.Rngs(dropout=key))

    return run


def make_objective(
    graphdef: Any, settings: TrainSettings, cpu_step: bool = False, own: Loss | None = None
) -> Callable[..., tuple[Scalar, Any]]:
    """Makes the objective function that training differentiates.

    In bfloat16 the float32 weights, also frozen ones, are rounded at each use, so gradients are float32. With `remat`,
    only the outputs of the blocks are stored for the backward pass; all other activations are recomputed.

    Args:
        graphdef: the model's structure, from `step.initial_state`.
        settings: `loss`, `data.ignore`, `hardware.precision` and `hardware.remat`.
        cpu_step: use the operations that are faster on one CPU (`unet_jax.nn.cpu`).
        own: loss function to use instead of that of the settings.

    Returns:
        A function (params, stats, images, labels, weights or None, dropout key) to (loss, new stats), differentiable
        in params.

    Example:
        >>> from unet_jax import TrainSettings, UNet, initial_state, make_objective, preset
        >>> graphdef, state = initial_state(UNet(preset("paper", widths=(2, 4))), TrainSettings())
        >>> objective = make_objective(graphdef, TrainSettings())
        >>> images, labels = jnp.ones((1, 28, 28, 1)), jnp.zeros((1, 28, 28), int)
        >>> loss, _ = objective(state["params"], state["stats"], images, labels, None, jax.random.key(0))
        >>> loss.shape
        ()
    """

    def objective(
        params: Any, stats: Any, images: Image, labels: Labels, weights: Weights | None, key: Key[Array, ""]
    ) -> tuple[Scalar, Any]:
        fixed, stats = nnx.split_state(stats, Fixed, ...)
        used = fixed
        if settings.hardware.precision == "bfloat16":
            params, used, images = jax.tree.map(lambda x: x.astype(jnp.bfloat16), (params, fixed, images))
        # Copied, since its statistics change at this trace level.
        model = nnx.merge(graphdef, params, used, stats, copy=True)
        if cpu_step:
            model.set_attributes(cpu_step=True, raise_if_not_found=False)
        loss = model_loss(model, settings, own)(images, labels, weights, key)
        return loss, nnx.merge_state(nnx.state(model, nnx.All(nnx.BatchStat, nnx.Not(Fixed))), fixed)

    if settings.hardware.remat:
        return jax.checkpoint(objective, policy=jax.checkpoint_policies.save_only_these_names("block"))
    return objective
