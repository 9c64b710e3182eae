"""Bugs in the trainer: optimizer and step."""

from __future__ import annotations

import optax.tree

from unet_jax.training import objective, step

from .plant import Attributes, Edit, Plant
from .registry import add

_SGD = ("training.sgd",)
_ADAMW = ("training.adamw",)
_SGD_LINE = "optax.sgd(rate, momentum=settings.momentum or None)"
_DECAY_LINE = "parts.append(optax.add_decayed_weights(settings.weight_decay, mask=kernels))\n"
_ADAMW_LINE = "optax.adamw(rate, weight_decay=settings.weight_decay, mask=kernels)"
_CLIP_LINE = "optax.clip_by_global_norm(settings.clip)"


def _optimizer(old: str, new: str) -> Plant:
    return Edit(step.optimizer, old, new)


def _clip(formula: str) -> Plant:
    """Another clipping. `formula`: factor of a gradient `g`, from all gradients `gs` and the maximum norm `c`."""
    scaled = f"jax.tree.map(lambda g: g * ({formula}), gs)"
    return _optimizer(_CLIP_LINE, f"optax.stateless(lambda gs, _, c=settings.clip: {scaled})")


add(
    "sgd-nesterov",
    "Nesterov's momentum",
    "crop-batch",
    _SGD,
    _optimizer(_SGD_LINE, "optax.sgd(rate, momentum=settings.momentum or None, nesterov=True)"),
)
add(
    "sgd-dampening",
    "the gradient enters the momentum with a share of 1 − momentum",
    "crop-batch",
    _SGD,
    _optimizer(_SGD_LINE, f"optax.chain(optax.scale(1 - settings.momentum), {_SGD_LINE})"),
)
add(
    "sgd-momentum-in-float32",
    "the momentum is kept in float32, whatever the weights are",
    "crop-batch",
    _SGD,
    _optimizer(_SGD_LINE, "optax.sgd(rate, momentum=settings.momentum or None, accumulator_dtype=jnp.float32)"),
)
add(
    "sgd-decay-decoupled",
    "the decay is added after the momentum",
    "crop-batch",
    _SGD,
    _optimizer(
        f"{_DECAY_LINE}        parts.append({_SGD_LINE})",
        "parts += [optax.trace(settings.momentum), optax.add_decayed_weights(settings.weight_decay, mask=kernels), "
        "optax.scale_by_learning_rate(rate)]",
    ),
)
add(
    "sgd-decay-on-biases",
    "biases and norms decay, too",
    "crop-batch",
    _SGD,
    _optimizer(_DECAY_LINE, "parts.append(optax.add_decayed_weights(settings.weight_decay))\n"),
)
add(
    "sgd-decay-before-clipping",
    "the decay is clipped together with the gradient",
    "crop-batch",
    _SGD,
    _optimizer(_DECAY_LINE, _DECAY_LINE.replace("append(", "insert(0, ")),
)
add(
    "clip-each-tensor",
    "each gradient is clipped to the norm by itself, not all together",
    "crop-batch",
    _SGD,
    _clip("jnp.minimum(1, c / jnp.linalg.norm(g.ravel()))"),
)
add(
    "clip-epsilon",
    "the factor is c / (norm + 1e-6), as in torch.nn.utils.clip_grad_norm_",
    "crop-batch",
    _SGD,
    _clip("jnp.minimum(1, c / (optax.global_norm(gs) + 1e-6))"),
)
add(
    "adamw-decay-coupled",
    "the decay is part of the gradient: Adam with L2, not AdamW",
    "crop-batch",
    _ADAMW,
    _optimizer(
        _ADAMW_LINE, "optax.chain(optax.add_decayed_weights(settings.weight_decay, mask=kernels), optax.adam(rate))"
    ),
)
add(
    "adamw-decay-default",
    "the decay is optax's default, 1e-4",
    "crop-batch",
    _ADAMW,
    _optimizer(_ADAMW_LINE, "optax.adamw(rate, mask=kernels)"),
)
add(
    "adamw-decay-on-biases",
    "biases and norms decay, too",
    "crop-batch",
    _ADAMW,
    _optimizer(_ADAMW_LINE, "optax.adamw(rate, weight_decay=settings.weight_decay)"),
)
add(
    "adamw-epsilon-inside-root",
    "sqrt(v + ε) for sqrt(v) + ε",
    "crop-batch",
    _ADAMW,
    _optimizer(_ADAMW_LINE, _ADAMW_LINE.replace("rate,", "rate, eps=0.0, eps_root=1e-8,")),
)
add(
    "adamw-beta2",
    "β₂ = 0.99",
    "crop-batch",
    _ADAMW,
    _optimizer(_ADAMW_LINE, _ADAMW_LINE.replace("rate,", "rate, b2=0.99,")),
)
add(
    "adamw-bias-not-corrected",
    "the moments are used as they are in the first steps, too small",
    "crop-batch",
    _ADAMW,
    Attributes(optax.tree, "bias_correction(m, ...) → m", {"bias_correction": lambda moment, decay, count: moment}),
)
add(
    "schedule-shifted",
    "the learning rate of the next step: the first one is not that of step 0",
    "crop-batch",
    ("training.schedule",),
    Edit(
        step.learning_rate,
        "return rate\n",
        "return lambda taken: rate(taken + 1)\n",
    ),
)
add(
    "step-statistics-lost",
    "the step returns the batch norms' old statistics, as jax.jit over a module does",
    "crop-batch",
    _SGD,
    Edit(step.make_step, '"stats": stats, "opt"', '"stats": state["stats"], "opt"'),
)
add(
    "step-not-normalised",
    "images go into the network as they were read",
    "crop-batch",
    _SGD,
    Edit(step.make_prepare, "(images.astype(jnp.float32) - values.mean) / values.std", "images.astype(jnp.float32)"),
)
add(
    "step-logits-in-float32",
    "the loss is given logits rounded to float32",
    "crop-batch",
    _SGD,
    Edit(objective.model_loss, "jnp.promote_types(logits.dtype, jnp.float32)", "jnp.float32"),
)
add(
    "step-smoothing-lost",
    "the labels are not smoothed",
    "crop-batch",
    _SGD,
    Edit(
        objective.loss_function,
        "cross_entropy(z, y, w, ignore, chosen.smoothing)\n",
        "cross_entropy(z, y, w, ignore)\n",
    ),
)
