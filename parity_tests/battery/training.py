"""Training: optimizer steps, slots, whole trajectories, and a hand-over from one framework to the other in mid-run.

On the side of JAX it is the trainer's own step (`unet_jax.step.make_step`), with the augmentation off; on the side of
PyTorch the loop that a reader would write with torch.optim.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

import unet_jax.step
import unet_jax.weights
import unet_torch.losses
import unet_torch.weights
from parity_tests.battery import noise, pair, slots
from parity_tests.battery.cases import Case
from parity_tests.battery.gauge import gauge_parameters
from parity_tests.battery.layers import without_dropout
from parity_tests.battery.measure import FORWARD_BOUND, TRAJECTORY_BOUND, Reading, check, farthest
from unet_jax.augment import NONE
from unet_jax.settings import TrainSettings
from unet_spec import Graph, NetworkConfig

_BASE = TrainSettings(steps=100, smoothing=0.1, augmentation=NONE)
SETTINGS: dict[str, TrainSettings] = {
    # The clip is below the norm of most gradients here, and above that of some.
    "sgd": dataclasses.replace(
        _BASE, optimizer="sgd", learning_rate=0.02, momentum=0.9, weight_decay=1e-2, clip=0.5, schedule="constant"
    ),
    "adamw": dataclasses.replace(
        _BASE, optimizer="adamw", learning_rate=3e-3, weight_decay=5e-2, clip=0.5, schedule="constant"
    ),
    "plain": dataclasses.replace(
        _BASE, optimizer="sgd", learning_rate=0.02, momentum=0.0, weight_decay=0.0, clip=0.0, schedule="constant"
    ),
    "cosine": dataclasses.replace(
        _BASE,
        optimizer="adamw",
        learning_rate=3e-3,
        weight_decay=0.0,
        clip=0.0,
        schedule="cosine",
        warmup=0.25,
        steps=16,
    ),
}


MEAN, STD = 0.25, 2.0


def rate(settings: TrainSettings, step: int) -> float:
    """The learning rate of step 0, 1, …: a straight line up from 0, then half a cosine down to 0 at the last step."""
    if settings.schedule == "constant":
        return settings.learning_rate
    warmup = min(round(settings.steps * settings.warmup), settings.steps - 1)
    if step < warmup:
        return settings.learning_rate * step / warmup
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (settings.steps - warmup)))


def batches(case: Case, settings: TrainSettings) -> list[tuple[np.ndarray, np.ndarray]]:
    """Four batches that take turns: images in float32, which the trainer takes, and labels at the image's size.

    Multiples of 1/16: whatever averages images (M-Net does) is exact in float32, too, before it meets the weights.
    """
    rng = np.random.default_rng(9)
    image = pair.image(dataclasses.replace(case, extra=min(case.extra, 1)), batch=2, dtype="float32")
    found = []
    for _ in range(4):
        x = (np.round(16 * rng.normal(0.3, 1.0, image.shape)) / 16).astype(np.float32)
        found.append((x, (x.mean(-1) > 0.3).astype(np.int32)))
    return found


@dataclass
class Run:
    """What a stretch of training leaves: losses, weights and statistics, the optimizer's slots, the steps taken."""

    losses: list[float] = field(default_factory=list)
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    slots: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    steps: int = 0


class JaxTrainer:
    """The trainer's step for one case, traced once."""

    def __init__(self, case: Case, settings: TrainSettings):
        self.case, self.settings, self.data = case, settings, batches(case, settings)
        self.model = pair.jax_twin(case.config, pair.random_tensors(case.config.graph, 0, "float64"))
        self.model.train()
        channels = case.config.in_channels
        mean, std = jnp.full(channels, MEAN, jnp.float32), jnp.full(channels, STD, jnp.float32)
        graphdef, _ = unet_jax.step.initial_state(self.model, settings)
        self.step = unet_jax.step.make_step(graphdef, settings, self.data[0][1].shape[1:], mean, std)

    def __call__(self, start: Run, count: int) -> Run:
        """`count` steps from `start` on."""
        graph = self.case.config.graph
        unet_jax.weights.load_tensors(self.model, start.tensors)
        _, state = unet_jax.step.initial_state(self.model, self.settings)
        state["opt"] = slots.load_optax_slots(graph, state["opt"], start.slots, start.steps)
        state["step"] = jnp.asarray(start.steps, jnp.int32)
        losses = []
        for i in range(start.steps, start.steps + count):
            state, loss = self.step(state, *self.data[i % len(self.data)])
            losses.append(float(loss))
        nnx.update(self.model, state["params"], state["stats"])
        found, _ = slots.optax_slots(graph, state["opt"])
        return Run(losses, unet_jax.weights.tensors(self.model), found, int(state["step"]))


def torch_optimizer(model: torch.nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """torch.optim's, as a run of the trainer with `settings` needs it: decay for kernels, none for biases and norms."""
    kernels = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": kernels, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate)
    return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum)


def clip_gradients(model: torch.nn.Module, largest: float) -> float:
    """Scales all gradients down to a joint norm of `largest` where theirs is greater; returns theirs.

    torch.nn.utils.clip_grad_norm_ divides by norm + 1e-6 instead; `training.clip` measures that this is all that
    sets it apart.
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.sqrt(sum((g**2).sum() for g in gradients))
    if norm > largest:
        for g in gradients:
            g.mul_(largest / norm)
    return float(norm)


def step_noise(settings: TrainSettings, step: int, *shape: int, dtype: torch.dtype, device: Any) -> torch.Tensor:
    """What the trainer draws in a step for a latent variable, (N, latent), in float32; in place of torch.randn."""
    key = jax.random.split(jax.random.fold_in(jax.random.key(settings.seed), step))[1]
    noise = jax.random.normal(nnx.Rngs(dropout=key).dropout(), shape, jnp.float32)
    return torch.from_numpy(np.array(noise)).to(device, dtype)


def torch_run(case: Case, start: Run, settings: TrainSettings, count: int, layout: Any = lambda t: t) -> Run:
    """The same in PyTorch."""
    model = layout(pair.torch_twin(case.config, start.tensors)).train()
    optimizer = torch_optimizer(model, settings)
    if start.steps:
        slots.load_torch_slots(model, optimizer, start.slots, start.steps)
    data = batches(case, settings)
    dtype = next(model.parameters()).dtype

    def of(z: torch.Tensor, y: torch.Tensor, w: torch.Tensor | None) -> torch.Tensor:
        return unet_torch.losses.cross_entropy(z, y, w, smoothing=settings.smoothing)

    losses = []
    for i in range(start.steps, start.steps + count):
        image, labels = data[i % len(data)]
        for group in optimizer.param_groups:
            group["lr"] = rate(settings, i)
        optimizer.zero_grad()
        x = layout(pair.to_torch((image - np.float32(MEAN)) / np.float32(STD)).to(dtype))
        with mock.patch.object(torch, "randn", partial(step_noise, settings, i)):
            loss = model.loss(of, x, torch.from_numpy(labels))
        loss.backward()
        if settings.clip:
            clip_gradients(model, settings.clip)
        optimizer.step()
        losses.append(float(loss.detach()))
    found, _ = slots.torch_slots(model, optimizer)
    return Run(losses, unet_torch.weights.tensors(model), found, start.steps + count)


def start_of(config: NetworkConfig, dtype: str = "float64") -> Run:
    return Run(tensors=pair.random_tensors(config.graph, 0, dtype))


def undetermined(graph: Graph, settings: TrainSettings) -> set[str]:
    """Tensors that rounding noise decides, and nothing else depends on.

    Adam divides a gradient by its own size, so a gauge bias, whose gradient is noise, walks at full speed in a random
    direction. Batch norm takes the walk out of the logits; the running mean that follows it keeps it. SGD moves such a
    bias by the noise itself, so there all tensors are compared.
    """
    if settings.optimizer != "adamw":
        return set()
    found = gauge_parameters(graph)
    return set(found) | {f"{norm}.running_mean" for norms in found.values() for norm in norms}


def compare(case: Case, settings: TrainSettings, found: Run, wanted: Run) -> dict[str, tuple[float, str]]:
    """ "loss", "weights" and "slots": the worst relative error and the tensor, or step, that has it."""
    graph = case.config.graph
    left_out = undetermined(graph, settings)

    def kept(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: t for name, t in tensors.items() if name not in left_out}

    losses = {f"step {i + wanted.steps - len(wanted.losses)}": np.array(v) for i, v in enumerate(wanted.losses)}
    theirs = {f"step {i + found.steps - len(found.losses)}": np.array(v) for i, v in enumerate(found.losses)}
    result = {"loss": farthest(theirs, losses), "weights": farthest(kept(found.tensors), kept(wanted.tensors))}
    gauge = set(gauge_parameters(graph))  # their slots are sums of noise under any optimizer
    flat = [
        {
            f"{slot} of {name}": t
            for slot, values in run.slots.items()
            for name, t in values.items()
            if name not in gauge
        }
        for run in (found, wanted)
    ]
    if flat[0] or flat[1]:
        result["slots"] = farthest(*flat)
    return result


def _optimizer(case: Case, name: str, long: int, handed_at: int) -> Iterator[Reading]:
    """Three steps, then `long`, then a hand-over each way after `handed_at` steps for as many more. Without dropout:
    masks are a matter of `forward.train` and `gradients`."""
    case, settings = dataclasses.replace(case, config=without_dropout(case.config)), SETTINGS[name]
    start, in_jax = start_of(case.config), JaxTrainer(case, settings)

    def in_torch(start: Run, count: int) -> Run:
        return torch_run(case, start, settings, count)

    def readings(runtime: str, what: str, found: Run, wanted: Run, bound: float) -> Iterator[Reading]:
        for part, (worst, where) in compare(case, settings, found, wanted).items():
            yield Reading(runtime, "float64", worst, bound, f"{what}, {part}, {where}")

    yield from readings("jax, torch", "3 steps", in_jax(start, 3), in_torch(start, 3), 10 * FORWARD_BOUND)
    whole = in_torch(start, long)
    yield from readings("jax, torch", f"{long} steps", in_jax(start, long), whole, TRAJECTORY_BOUND)
    unbroken = in_torch(start, 2 * handed_at)
    unbroken.losses = unbroken.losses[handed_at:]
    for runtime, first, second in (("torch → jax", in_torch, in_jax), ("jax → torch", in_jax, in_torch)):
        handed = second(first(start, handed_at), handed_at)
        yield from readings(runtime, f"handed over at {handed_at}", handed, unbroken, TRAJECTORY_BOUND)


@check("training.sgd", runs="trains")
def sgd(case: Case) -> Iterator[Reading]:
    """Momentum, decay, clipping: losses, weights, statistics and momentum over 100 steps; a hand-over each way."""
    yield from _optimizer(case, "sgd", 100, 6)


@check("training.adamw", runs="trains")
def adamw(case: Case) -> Iterator[Reading]:
    """The same for AdamW, with its two moments and its count of steps."""
    yield from _optimizer(case, "adamw", 100, 6)


@check("training.schedule", runs="slow-trains")
def schedule(case: Case) -> Iterator[Reading]:
    """A whole run under the schedule, warm-up to the last step. Optax computes the rate in float32, whatever the
    weights: each step is off by a few units in its last place, and so is their sum."""
    case, settings = dataclasses.replace(case, config=without_dropout(case.config)), SETTINGS["cosine"]
    start, count = start_of(case.config), settings.steps
    found, wanted = JaxTrainer(case, settings)(start, count), torch_run(case, start, settings, count)
    worst, where = compare(case, settings, found, wanted)["weights"]
    moved, _ = farthest(start.tensors, wanted.tensors)
    yield Reading("jax, torch", "float64", worst, noise.FACTOR * noise.ULP * moved, where)


@check("training.plain", runs="slow-trains")
def plain(case: Case) -> Iterator[Reading]:
    """SGD without momentum, decay or clipping."""
    yield from _optimizer(case, "plain", 20, 3)


@check("training.float32", runs="slow-trains")
def single(case: Case) -> Iterator[Reading]:
    """Ten steps in float32 against float64. The noise floor: what half a unit in the last place in every initial weight
    has become by then, and contiguous against channels_last."""
    case = dataclasses.replace(case, config=without_dropout(case.config))
    for name in ("sgd", "adamw"):
        settings = SETTINGS[name]
        start = start_of(case.config, "float32")
        wanted = torch_run(case, Run(tensors=pair.double(start.tensors)), settings, 10)
        near = torch_run(case, Run(tensors=noise.rounded_inputs(start.tensors, 1)), settings, 10)
        found = {"torch": torch_run(case, start, settings, 10), "jax": JaxTrainer(case, settings)(start, 10)}
        other = torch_run(case, start, settings, 10, pair.channels_last)
        for what in ("loss", "weights"):
            base = max(compare(case, settings, near, wanted)[what][0], 2 * noise.ULP)
            twin = compare(case, settings, other, found["torch"])[what][0]
            floor = max(base, min(twin, noise.CAP * base))
            for runtime, run in found.items():
                worst, where = compare(case, settings, run, wanted)[what]
                yield Reading(runtime, "float32", worst, noise.FACTOR * floor, f"{name}, {what}, {where}")


@check("training.clip", runs="once")
def clip(case: Case) -> Iterator[Reading]:
    """PyTorch's own clipping is the one compared here but for a factor of norm / (norm + 1e-6)."""
    config = without_dropout(case.config)
    ours, theirs = (pair.torch_twin(config, pair.random_tensors(config.graph, 0, "float64")) for _ in range(2))
    rng = np.random.default_rng(1)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        a.grad = torch.from_numpy(rng.normal(size=tuple(a.shape)))
        b.grad = a.grad.clone()
    norm = clip_gradients(ours, 0.5)
    torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
    wanted = {n: p.grad.numpy() * (norm / (norm + 1e-6)) for n, p in ours.named_parameters()}
    worst, where = farthest({n: p.grad.numpy() for n, p in theirs.named_parameters()}, wanted)
    yield Reading("torch", "float64", worst, FORWARD_BOUND, where)
