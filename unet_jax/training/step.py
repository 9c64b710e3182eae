"""One training step: augmentation, forward, loss, backward, optimizer, all in one jitted function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.sharding import Mesh
from jaxtyping import Int, Shaped

from unet_spec import InputError

from ..compiling import compiler_options
from ..network import Network
from ..shapes import Scalar
from .augmentation.augment import augment
from .devices.mesh import platform_of, split_image, state_shardings
from .objective import make_objective
from .run.hooks import NO_HOOKS, Augment, Hooks
from .run.values import RunValues, schedule_span
from .settings import OptimisationSettings, TrainSettings, ValidationSettings

TrainState = dict[str, Any]
"""The state that a step updates:
params, stats: nnx states.
opt: state of the optax optimizer.
ema: moving averages of params and stats, if the settings have ema. Norm statistics are averaged too, since they belong
to their weights.
step: int32, optimizer steps taken.
loss: float32, the sum of the losses since the last line of the log.
failed: int32, the first step whose loss, new weights or new statistics are not finite, or −1. That step and all later
ones change nothing else, so the state stays the last good one."""

Batch = tuple[Any, ...]
"""images (N, *window, C) as read, labels (N, *window) and, optionally, weights (N, *window) float32."""


_OWN = 0x6F776E
"""Number that derives the key of a user-defined augmentation from that of dropout. The parts of a batch use numbers
from 0."""


def learning_rate(settings: OptimisationSettings, span: Any = None) -> float | optax.Schedule:
    """The learning rate: a number or, with the cosine schedule, a function of the number of steps taken.

    The schedule rises linearly from 0 to the peak in the warm-up, then follows (1 + cos) / 2 down to 0 (Loshchilov and
    Hutter 2017, equation 5, without restarts). It is computed in float32.

    Args:
        settings: peak, schedule and, without `span`, its length.
        span: result of `schedule_span`.
    """
    peak = settings.learning_rate or 1e-3
    if settings.schedule == "constant":
        return peak
    warmup, steps = jnp.asarray(schedule_span(settings) if span is None else span).astype(jnp.float32)

    def rate(taken: Any) -> Array:
        taken = jnp.asarray(taken).astype(jnp.float32)
        falling = jnp.clip((taken - warmup) / (steps - warmup), 0, 1)
        return peak * jnp.where(taken < warmup, taken / jnp.maximum(warmup, 1), (1 + jnp.cos(jnp.pi * falling)) / 2)

    return rate


def rate_after(settings: OptimisationSettings, taken: int) -> float:
    """The learning rate of the next step after `taken` steps."""
    rate = learning_rate(settings)
    return np.asarray(rate(taken)).item() if callable(rate) else rate


def optimizer(settings: OptimisationSettings, span: Any = None) -> optax.GradientTransformation:
    """Clipping, then AdamW or SGD with momentum, with the schedule of `learning_rate`. Weight decay applies to kernels,
    not to biases and norms."""
    rate = learning_rate(settings, span)

    def kernels(params: Any) -> Any:
        return jax.tree.map(lambda p: p.ndim > 1, params)

    # Without clipping, the identity keeps the structure of the optimizer state.
    parts = [optax.clip_by_global_norm(settings.clip) if settings.clip else optax.identity()]
    if settings.optimizer == "adamw":
        parts.append(optax.adamw(rate, weight_decay=settings.weight_decay, mask=kernels))
    else:  # as in PyTorch's SGD, the decay is added to the gradient before the momentum
        parts.append(optax.add_decayed_weights(settings.weight_decay, mask=kernels))
        parts.append(optax.sgd(rate, momentum=settings.momentum or None))
    return optax.chain(*parts)


def initial_state(model: Network, settings: TrainSettings) -> tuple[Any, TrainState]:
    """The model's structure (an nnx.GraphDef) and the state of a run before its first step.

    Args:
        model: in training mode; its arrays become part of the state.
        settings: `optimisation` determines the optimizer's state and the moving average.

    Example:
        >>> from unet_jax import TrainSettings, UNet, initial_state, preset
        >>> graphdef, state = initial_state(UNet(preset("paper", widths=(2, 4))), TrainSettings())
        >>> sorted(state)
        ['failed', 'loss', 'opt', 'params', 'stats', 'step']
    """
    graphdef, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    state = {"params": params, "stats": stats, "opt": optimizer(settings.optimisation).init(params)}
    state |= {
        "step": jnp.zeros((), jnp.int32),
        "loss": jnp.zeros((), jnp.float32),
        "failed": jnp.full((), -1, jnp.int32),
    }
    averages = jax.tree.map(jnp.copy, {"params": params, "stats": stats})
    return graphdef, state | ({"ema": averages} if settings.optimisation.ema else {})


def make_prepare(
    settings: TrainSettings, tile: tuple[int, ...], platform: str | None = None, own: Augment | None = None
) -> Callable[[RunValues, Int[Array, ""], Batch], tuple[Array, Array, Array | None, Array]]:
    """Makes the function that prepares a batch: normalisation and augmentation.

    Random numbers depend only on the seed and the step number, so a resumed run draws the same numbers as an
    uninterrupted one.

    Args:
        settings: only `augmentation` is used.
        tile: size of the input tile (pixels per axis).
        platform: platform to compile for, "cpu", "gpu" or "tpu"; None: JAX's default.
        own: user-defined augmentation, applied after that of the settings.

    Returns:
        A function of the run's values, the step's number and a batch, to images (N, *tile, C), labels and weights
        (N, *tile), and the key of dropout.
    """

    def prepare(values: RunValues, number: Int[Array, ""], batch: Batch) -> tuple[Array, Array, Array | None, Array]:
        images, labels, weights = batch if len(batch) == 3 else (*batch, None)
        key = jax.random.fold_in(jax.random.wrap_key_data(values.seed), number)
        warp, drop = jax.random.split(key)
        normal = (images.astype(jnp.float32) - values.mean) / values.std
        changed = augment(warp, normal, labels, tile, settings.augmentation, weights, platform)
        if own is not None:
            images, labels, weights = own(jax.random.fold_in(drop, _OWN), *changed)
            if (images.shape, labels.shape) != (changed[0].shape, changed[1].shape):  # labels would be cropped silently
                raise InputError(
                    f"augment turned images {changed[0].shape} and labels {changed[1].shape} into {images.shape} and "
                    f"{labels.shape}; their shapes must not change"
                )
            changed = images, labels, weights
        return *changed, drop

    return prepare


def make_step(
    graphdef: Any,
    settings: TrainSettings,
    tile: tuple[int, ...],
    mesh: Mesh | None = None,
    state: TrainState | None = None,
    hooks: Hooks = NO_HOOKS,
) -> Callable[..., tuple[TrainState, Scalar]]:
    """Makes the jitted training step, for a loop of your own.

    Args:
        graphdef: the model's structure, from `initial_state`.
        settings: settings of the training. Of `validation`, only `log_every` is used; seed, steps and warm-up are those
            of the run's values.
        tile: size of the input tile (pixels per axis), `settings.data.tile_shape(config)`.
        mesh: devices that the work is divided over (`unet_jax.training.devices.mesh.make_mesh`); None: one device.
        state: with a mesh, the state whose layout over the devices the step keeps (`state_shardings`).
        hooks: your own loss and augmentation.

    Returns:
        A function (state, values, images, labels[, weights]) to (state, loss). The state is donated: use the returned
        one. Runs that differ only in their values (`RunValues.of`) share the compiled program.

    Example:
        >>> import jax.numpy as jnp
        >>> from unet_jax import RunValues, TrainSettings, UNet, initial_state, make_step, preset
        >>> model = UNet(preset("paper", widths=(2, 4)))
        >>> settings = TrainSettings().replace(elastic=0.0, rotation=0.0)
        >>> graphdef, state = initial_state(model, settings)
        >>> step, values = make_step(graphdef, settings, (28, 28)), RunValues.of(settings, mean=[0.0], std=[1.0])
        >>> images, labels = jnp.ones((1, 28, 28, 1)), jnp.zeros((1, 28, 28), int)
        >>> state, loss = step(state, values, images, labels)
        >>> int(state["step"]), loss.shape
        (1, ())
    """
    platform = platform_of(mesh)
    prepare = make_prepare(settings, tile, platform, hooks.augment)
    accumulate, ema = settings.optimisation.accumulate, settings.optimisation.ema
    cpu_step = mesh is None and platform == "cpu"
    gradient = jax.value_and_grad(make_objective(graphdef, settings, cpu_step, hooks.loss), has_aux=True)

    def gradients(state: TrainState, images: Array, labels: Array, weights: Array | None, key: Array) -> Any:
        """(loss, stats, gradient), computed for one part of the batch after the other."""
        if accumulate == 1:
            (loss, stats), grads = gradient(state["params"], state["stats"], images, labels, weights, key)
            return loss, stats, grads

        def part(carry: Any, part: Any) -> tuple[Any, None]:
            stats, total, sums = carry
            index, images, labels, weights = part
            (loss, stats), grads = gradient(
                state["params"], stats, images, labels, weights, jax.random.fold_in(key, index)
            )
            return (stats, total + loss.astype(jnp.float32), jax.tree.map(jnp.add, sums, grads)), None

        def parts(x: Array | None) -> Array | None:  # interleaved, so that images stay on their devices
            return None if x is None else x.reshape(-1, accumulate, *x.shape[1:]).swapaxes(0, 1)

        zero = (state["stats"], jnp.zeros((), jnp.float32), jax.tree.map(jnp.zeros_like, state["params"]))
        inputs = (jnp.arange(accumulate), parts(images), parts(labels), parts(weights))
        # XLA's CPU convolutions are about ten times slower inside a loop.
        unroll = platform == "cpu"
        (stats, loss, grads), _ = jax.lax.scan(part, zero, inputs, unroll=unroll)
        return loss / accumulate, stats, jax.tree.map(lambda g: g / accumulate, grads)

    def step(state: TrainState, values: RunValues, *batch: Shaped[Array, "n ..."]) -> tuple[TrainState, Scalar]:
        number, update = state["step"], optimizer(settings.optimisation, values.span)
        *arrays, key = prepare(values, number, batch)
        images, labels, weights = (split_image(mesh, x, len(tile)) for x in arrays)
        loss, stats, grads = gradients(state, images, labels, weights, key)
        moves, opt = update.update(grads, state["opt"], state["params"])
        new = {"params": optax.apply_updates(state["params"], moves), "stats": stats, "opt": opt, "step": number + 1}
        since_log = jnp.where(number % settings.validation.log_every == 0, 0.0, state["loss"])
        new["loss"] = since_log + loss.astype(jnp.float32)
        if ema:  # a smaller decay in the first steps
            decay = jnp.minimum(ema, (1 + number) / (10 + number)).astype(jnp.float32)
            now = {name: new[name] for name in state["ema"]}
            new["ema"] = jax.tree.map(lambda a, x: decay * a + (1 - decay) * x, state["ema"], now)
        finite = jnp.stack([jnp.isfinite(x).all() for x in (loss, *jax.tree.leaves((new["params"], stats)))]).all()
        failed = jnp.where((state["failed"] < 0) & ~finite, number, state["failed"])
        old = {name: state[name] for name in new}
        selected = jax.tree.map(lambda a, b: jnp.where(failed < 0, a, b), new, old)
        return selected | {"failed": failed}, loss

    if mesh is None:
        return jax.jit(step, donate_argnums=0, compiler_options=compiler_options(platform, len(tile) == 2))
    layout = state_shardings(mesh, state, settings.hardware.fsdp)
    return jax.jit(step, donate_argnums=0, out_shardings=(layout, None), compiler_options=compiler_options(platform))


def shared_step(
    graphdef: Any, settings: TrainSettings, tile: tuple[int, ...]
) -> Callable[..., tuple[TrainState, Scalar]]:
    """The step of `make_step` for one device, without hooks. The last four are kept: the run after a plan that timed
    the step, and the folds of a cross-validation, neither trace nor compile it again."""
    validation = ValidationSettings(log_every=settings.validation.log_every)
    same = settings.replace(steps=1, warmup=0.0, seed=0, validation=validation)  # the rest is no part of the step
    return _shared_step(_Structure(repr(graphdef), graphdef), same, tile)


@dataclass(frozen=True)
class _Structure:
    """A model's structure that can be compared: an nnx.GraphDef has no hash."""

    text: str
    graphdef: Any = field(compare=False)


@lru_cache(maxsize=4)
def _shared_step(structure: _Structure, settings: TrainSettings, tile: tuple[int, ...]) -> Any:
    return make_step(structure.graphdef, settings, tile)


def forget_shared_steps() -> None:
    """Gives back the memory of the steps that `shared_step` keeps."""
    _shared_step.cache_clear()
