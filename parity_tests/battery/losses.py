"""The loss of both twins against its formula in NumPy, and its gradient at the logits."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import torch

import unet_jax.losses
import unet_torch.losses

from . import noise, oracle, pair
from .cases import Case
from .measure import FORWARD_BOUND, ONCE, Reading, check, distance

VARIANTS: dict[str, dict] = {
    "plain": {},
    "weights": {"weights": True},
    "ignore": {"ignore": 250},
    "ignored class": {"ignore": 0, "weights": True},
    "smoothing": {"smoothing": 0.1},
    "all": {"weights": True, "ignore": 250, "smoothing": 0.2},
    "larger labels": {"margin": 3, "weights": True, "ignore": 250},
    "steep": {"scale": 200.0},
}


def _data(
    channels: int, dims: int, dtype: str, margin: int = 0, weights: bool = False, scale: float = 1.0, ignore=None
):
    rng = np.random.default_rng(6)
    size = tuple(7 + axis for axis in range(dims))
    logits = (scale * rng.normal(size=(3, *size, channels))).astype(np.float32).astype(dtype)
    wide = (3, *(n + 2 * margin for n in size))
    labels = rng.integers(0, max(channels, 2), wide)
    if ignore is not None and ignore >= channels:
        labels[rng.random(wide) < 0.2] = ignore
    return logits, labels, rng.uniform(0, 3, wide).astype(np.float32).astype(dtype) if weights else None


@check("losses.cross_entropy", only=ONCE)
def cross_entropy(case: Case) -> Iterator[Reading]:
    """The cross entropy with every argument, against the formula, and its gradients at the logits.

    One channel and three; values in both dtypes, gradients in float64.
    """
    dims = case.config.spatial_dims
    for channels in (1, 3):
        for name, options in VARIANTS.items():
            data = {k: v for k, v in options.items() if k != "smoothing"}
            rest = {k: v for k, v in options.items() if k in ("ignore", "smoothing")}
            for dtype in ("float64", "float32") if channels == 3 else ("float64",):
                logits, labels, weights = _data(channels, dims, dtype, **data)
                wanted = oracle.cross_entropy(logits, labels, weights, **rest)
                ours, grad = _jax(logits, labels, weights, rest)
                theirs, other = _torch(logits, labels, weights, rest)
                # About a hundred terms are added, in a different order in each framework.
                bound = FORWARD_BOUND if dtype == "float64" else noise.FACTOR * 2 * noise.ULP
                where = f"{name}, {channels} channels"
                yield Reading("jax", dtype, abs(ours - wanted) / abs(wanted), bound, where)
                yield Reading("torch", dtype, abs(theirs - wanted) / abs(wanted), bound, where)
                if dtype == "float64":
                    yield Reading("jax, torch", dtype, distance(grad, other), bound, f"gradient, {where}")


@check("losses.others", only=ONCE)
def others(case: Case) -> Iterator[Reading]:
    """Focal, Dice and Tversky loss of the twins, values and gradients.

    Against their formulas: test_losses.py.
    """
    for channels in (1, 3):
        for name, data in (("plain", {}), ("all", {"weights": True, "ignore": 250, "margin": 3})):
            logits, labels, weights = _data(channels, case.config.spatial_dims, "float64", **data)
            labels[1][labels[1] == 1] = 0  # a class that is absent from this image
            rest = {k: v for k, v in data.items() if k == "ignore"}
            for loss in ("focal_loss", "dice_loss", "tversky_loss"):
                ours, grad = _jax(logits, labels, weights, rest, loss)
                theirs, other = _torch(logits, labels, weights, rest, loss)
                where = f"{loss}, {name}, {channels} channels"
                yield Reading("jax, torch", "float64", abs(ours - theirs) / abs(theirs), FORWARD_BOUND, where)
                yield Reading("jax, torch", "float64", distance(grad, other), FORWARD_BOUND, f"gradient, {where}")


@check("losses.edges", only=ONCE)
def edges(case: Case) -> Iterator[Reading]:
    """Wrong answers of the losses at their edges, counted.

    A label that no class has gives NaN; no pixel that counts gives 0 and no gradient.
    """
    logits, labels, _ = _data(3, case.config.spatial_dims, "float64")
    for runtime, run in (("jax", _jax), ("torch", _torch)):
        for bad in (-1, 3, 255):
            wrong = labels.copy()
            wrong.flat[5] = bad
            yield Reading(runtime, "float64", int(not np.isnan(run(logits, wrong, None, {})[0])), 0, f"label {bad}")
        loss, grad = run(logits, np.full_like(labels, 9), None, {"ignore": 9})
        yield Reading(runtime, "float64", int(loss != 0 or np.abs(grad).max() != 0), 0, "nothing counts")


def _jax(logits, labels, weights, options, loss="cross_entropy") -> tuple[float, np.ndarray]:
    def run(z: jax.Array) -> jax.Array:
        w = None if weights is None else jnp.array(weights)
        return getattr(unet_jax.losses, loss)(z, jnp.array(labels), w, **options)

    value, grad = jax.jit(jax.value_and_grad(run))(jnp.array(logits))
    return float(value), np.asarray(grad)


def _torch(logits, labels, weights, options, loss="cross_entropy") -> tuple[float, np.ndarray]:
    z = pair.to_torch(logits).requires_grad_(True)
    w = None if weights is None else torch.from_numpy(weights)
    value = getattr(unet_torch.losses, loss)(z, torch.from_numpy(labels), w, **options)
    value.backward()
    return float(value.detach()), pair.from_torch(z.grad)
