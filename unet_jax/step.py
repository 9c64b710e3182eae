"""One training step: augmentation, forward, loss, backward, optimizer, all in one jitted function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array
from jax.sharding import Mesh

from unet_jax.augment import augment
from unet_jax.compiling import compiler_options
from unet_jax.mesh import split_image, state_shardings
from unet_jax.network import Network
from unet_jax.objective import make_objective
from unet_jax.settings import TrainSettings

TrainState = dict[str, Any]
"""All that a step changes:
params, stats: nnx states. opt: optax's. ema: params and stats, averaged, where the settings ask for it: a norm's
statistics go with the weights that they were measured on.
step: int32, optimizer steps taken. loss: float32, the sum of the losses since the last line of the log.
failed: int32, the step whose loss, or whose new weights or statistics, were the first that are not finite, or −1. It
and all later ones change nothing else, so that the state stays the last good one."""

Batch = tuple[Any, ...]
"""images (N, *window, C) as read, labels (N, *window) and, perhaps, weights (N, *window) float32."""


def learning_rate(settings: TrainSettings) -> float | optax.Schedule:
    """One number, or, under the cosine schedule, of the number of steps taken: rising in a line from 0 to the peak,
    then (1 + cos) / 2 of it down to 0."""
    peak = settings.learning_rate or 1e-3
    if settings.schedule == "constant":
        return peak
    warmup = min(round(settings.steps * settings.warmup), settings.steps - 1)
    return optax.warmup_cosine_decay_schedule(0.0 if warmup else peak, peak, warmup, settings.steps)


def optimizer(settings: TrainSettings) -> optax.GradientTransformation:
    """Clipping, then AdamW or SGD with momentum, under the schedule. Weights decay; biases and norms do not."""
    rate = learning_rate(settings)

    def kernels(params: Any) -> Any:
        return jax.tree.map(lambda p: p.ndim > 1, params)

    # Without clipping, a part that changes nothing: the states of both kinds have one structure.
    parts = [optax.clip_by_global_norm(settings.clip) if settings.clip else optax.identity()]
    if settings.optimizer == "adamw":
        parts.append(optax.adamw(rate, weight_decay=settings.weight_decay, mask=kernels))
    else:  # the decay is part of the gradient, before the momentum, as PyTorch's SGD has it
        parts.append(optax.add_decayed_weights(settings.weight_decay, mask=kernels))
        parts.append(optax.sgd(rate, momentum=settings.momentum or None))
    return optax.chain(*parts)


def initial_state(model: Network, settings: TrainSettings) -> tuple[Any, TrainState]:
    """The model's structure and the state of a run before its first step."""
    graphdef, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    state = {"params": params, "stats": stats, "opt": optimizer(settings).init(params)}
    state |= {
        "step": jnp.zeros((), jnp.int32),
        "loss": jnp.zeros((), jnp.float32),
        "failed": jnp.full((), -1, jnp.int32),
    }
    averages = jax.tree.map(jnp.copy, {"params": params, "stats": stats})
    return graphdef, state | ({"ema": averages} if settings.ema else {})


def make_prepare(
    settings: TrainSettings, tile: tuple[int, ...], mean: Array, std: Array
) -> Callable[[Array, Batch], tuple[Array, Array, Array | None, Array]]:
    """(step number, batch) to images (N, *tile, C), labels and weights (N, *tile), and the key of dropout.

    Images become (x − mean) / std in float32, mean and std in the images' own units, one number a channel. Random
    numbers follow from the seed and the step's number, so a resumed run draws what the uninterrupted one would have
    drawn.
    """

    def prepare(number: Array, batch: Batch) -> tuple[Array, Array, Array | None, Array]:
        images, labels, weights = batch if len(batch) == 3 else (*batch, None)
        key = jax.random.fold_in(jax.random.key(settings.seed), number)
        warp, drop = jax.random.split(key)
        normal = (images.astype(jnp.float32) - mean) / std
        return *augment(warp, normal, labels, tile, settings.augmentation, weights), drop

    return prepare


def make_step(
    graphdef: Any,
    settings: TrainSettings,
    tile: tuple[int, ...],
    mean: Array,
    std: Array,
    mesh: Mesh | None = None,
    state: TrainState | None = None,
) -> Callable[..., tuple[TrainState, Array]]:
    """The step: (state, *batch) to (state, loss). The state is donated. See `make_prepare` and `TrainState`.

    With a mesh (`unet_jax.mesh.make_mesh`), `state` says what the state looks like, and the step takes and gives it
    as `state_shardings` lays it out.
    """
    update, prepare = optimizer(settings), make_prepare(settings, tile, mean, std)
    cpu_step = mesh is None and jax.default_backend() == "cpu"
    gradient = jax.value_and_grad(make_objective(graphdef, settings, cpu_step), has_aux=True)

    def gradients(state: TrainState, images: Array, labels: Array, weights: Array | None, key: Array) -> Any:
        """(loss, stats, gradient), the parts of the batch one after the other."""
        if settings.accumulate == 1:
            (loss, stats), grads = gradient(state["params"], state["stats"], images, labels, weights, key)
            return loss, stats, grads

        def part(carry: Any, part: Any) -> tuple[Any, None]:
            stats, total, sums = carry
            index, images, labels, weights = part
            (loss, stats), grads = gradient(
                state["params"], stats, images, labels, weights, jax.random.fold_in(key, index)
            )
            return (stats, total + loss.astype(jnp.float32), jax.tree.map(jnp.add, sums, grads)), None

        def parts(x: Array | None) -> Array | None:  # of interleaved images, so that no device has to send its own away
            n = settings.accumulate
            return None if x is None else x.reshape(-1, n, *x.shape[1:]).swapaxes(0, 1)

        zero = (state["stats"], jnp.zeros((), jnp.float32), jax.tree.map(jnp.zeros_like, state["params"]))
        inputs = (jnp.arange(settings.accumulate), parts(images), parts(labels), parts(weights))
        # XLA's CPU convolutions are some ten times slower inside of a loop.
        unroll = jax.default_backend() == "cpu"
        (stats, loss, grads), _ = jax.lax.scan(part, zero, inputs, unroll=unroll)
        return loss / settings.accumulate, stats, jax.tree.map(lambda g: g / settings.accumulate, grads)

    def step(state: TrainState, *batch: Array) -> tuple[TrainState, Array]:
        number = state["step"]
        *arrays, key = prepare(number, batch)
        images, labels, weights = (split_image(mesh, x, len(tile)) for x in arrays)
        loss, stats, grads = gradients(state, images, labels, weights, key)
        moves, opt = update.update(grads, state["opt"], state["params"])
        new = {"params": optax.apply_updates(state["params"], moves), "stats": stats, "opt": opt, "step": number + 1}
        new["loss"] = jnp.where(number % settings.log_every == 0, 0.0, state["loss"]) + loss.astype(jnp.float32)
        if settings.ema:  # follows closely at first, as the average of few
            decay = jnp.minimum(settings.ema, (1 + number) / (10 + number)).astype(jnp.float32)
            now = {name: new[name] for name in state["ema"]}
            new["ema"] = jax.tree.map(lambda a, x: decay * a + (1 - decay) * x, state["ema"], now)
        finite = jnp.stack([jnp.isfinite(x).all() for x in (loss, *jax.tree.leaves((new["params"], stats)))]).all()
        failed = jnp.where((state["failed"] < 0) & ~finite, number, state["failed"])
        old = {name: state[name] for name in new}
        kept = jax.tree.map(lambda a, b: jnp.where(failed < 0, a, b), new, old)
        return kept | {"failed": failed}, loss

    if mesh is None:
        return jax.jit(step, donate_argnums=0, compiler_options=compiler_options(long_vectors=len(tile) == 2))
    layout = state_shardings(mesh, state, settings.fsdp)
    return jax.jit(step, donate_argnums=0, out_shardings=(layout, None), compiler_options=compiler_options())
