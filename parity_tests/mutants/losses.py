"""Bugs in the losses of either twin."""

from __future__ import annotations

import unet_jax.losses.distance as jax_distance
import unet_jax.losses.entropy as jax_entropy
import unet_jax.losses.focal as jax_focal
import unet_jax.losses.targets as jax_targets
import unet_torch.losses.distance as torch_distance
import unet_torch.losses.entropy as torch_entropy
import unet_torch.losses.targets as torch_targets
import unet_torch.losses.tversky as torch_tversky

from .plant import Edit
from .registry import LOSSES, add

add(
    "loss-labels-off-centre",
    "labels are cropped from their first pixel on, not about their centre",
    "paper",
    LOSSES,
    Edit(
        jax_targets.crop_labels,
        "center_crop(labels[..., None], like=logits)[..., 0]",
        "labels[(slice(None), *(slice(n) for n in logits.shape[1:-1]))]",
    ),
)
add(
    "loss-sum",
    "the sum over pixels, not their mean",
    "paper",
    LOSSES,
    Edit(jax_targets.weighted_mean, "total = weights.sum()", "total = jnp.where(weights.sum() > 0, 1.0, 0.0)"),
)
add(
    "loss-mean-over-all-pixels",
    "divided by the number of pixels, not by the sum of their weights",
    "paper",
    LOSSES,
    Edit(
        torch_targets.weighted_mean,
        "total = weights.sum()",
        "total = torch.where(weights.sum() > 0, float(weights.numel()), 0.0)",
    ),
)
add(
    "loss-weights-squared",
    "pixels weigh by the square of their weight",
    "paper",
    LOSSES,
    Edit(torch_targets.weighted_mean, "(loss * weights).sum()", "(loss * weights * weights).sum()"),
)
add(
    "loss-ignored-counts",
    "pixels of the ignored label count",
    "paper",
    LOSSES,
    Edit(jax_targets.pixel_targets, "labels != ignore if ignore is not None else", ""),
)
add(
    "loss-ignored-in-denominator",
    "ignored pixels cost nothing, but count in the mean",
    "paper",
    LOSSES,
    Edit(
        torch_targets.pixel_targets,
        "torch.where(inside, labels, 0), torch.where(counted, weights.to(logits.dtype), 0.0), known",
        "torch.where(inside, labels, 0), weights.to(logits.dtype) * (1 + 0.0 * counted), known",
    ),
)
add(
    "loss-smoothing-over-others",
    "smoothing spreads ε over the K − 1 other classes",
    "paper",
    LOSSES,
    Edit(jax_entropy.cross_entropy, "log_p.mean(-1)", "(log_p.sum(-1) - picked) / (log_p.shape[-1] - 1)"),
)
add(
    "loss-log-of-softmax",
    "log(softmax(z)): minus infinity where a class is very unlikely",
    "paper",
    LOSSES,
    Edit(torch_entropy.cross_entropy, "F.log_softmax(logits, dim=1)", "F.softmax(logits, dim=1).log()"),
)
add(
    "loss-label-clipped",
    "a label that no class has is taken for the nearest class",
    "paper",
    LOSSES,
    Edit(
        jax_targets.pixel_targets,
        "known = ~counted | ((labels >= 0) & (labels < logits.shape[-1]))",
        "known, labels = jnp.ones_like(counted), jnp.clip(labels, 0, logits.shape[-1] - 1)",
    ),
)
add(
    "loss-one-channel-inverted",
    "a single channel is the logit of class 0 against 1",
    "article",
    LOSSES,
    Edit(torch_targets.class_logits, "[torch.zeros_like(logits), logits]", "[logits, torch.zeros_like(logits)]"),
)
add(
    "loss-focal-of-others",
    "p^γ for (1 − p)^γ",
    "paper",
    LOSSES,
    Edit(jax_focal.focal_loss, "-jnp.expm1(log_p)", "jnp.exp(log_p)"),
)
add(
    "loss-tversky-exchanged",
    "α weighs the missed pixels, β the invented ones",
    "paper",
    LOSSES,
    Edit(torch_tversky.tversky_loss, "alpha * fp + beta * fn", "beta * fp + alpha * fn"),
)
add(
    "loss-dice-of-batch",
    "absent classes count in the mean",
    "paper",
    LOSSES,
    Edit(jax_targets.present_mean, "size > 0)", "True)"),
)
add(
    "loss-distance-not-masked",
    "the distance counts where a pixel does not",
    "distance",
    ("gradients.float64",),
    Edit(jax_distance.distance_loss, "jnp.where(t < 0, 0.0, w)", "w"),
)
add(
    "loss-distance-in-classes",
    "a distance of 1 is the largest level's number, not 1",
    "distance",
    ("gradients.float64",),
    Edit(torch_distance.with_distance, ".to(output.dtype) / LEVELS", ".to(output.dtype)"),
)
