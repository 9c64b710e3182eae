"""The same training steps in either framework.

In JAX these are the trainer's own steps (`unet_jax.training.step.make_step`) without augmentation; in PyTorch, a usual
loop with torch.optim.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

import unet_jax.training.step
import unet_jax.weights
import unet_torch.losses
import unet_torch.weights
from unet_data import pack_distances
from unet_jax.training.augmentation.augment import NONE
from unet_jax.training.settings import OptimisationSettings, TrainSettings
from unet_spec import NetworkConfig

from . import pair, slots
from .cases import Case

_BASE = TrainSettings().replace(steps=100, smoothing=0.1, augmentation=NONE)
SETTINGS: dict[str, TrainSettings] = {
    # The clip is below the norm of most gradients here and above that of some.
    "sgd": _BASE.replace(
        optimizer="sgd", learning_rate=0.02, momentum=0.9, weight_decay=1e-2, clip=0.5, schedule="constant"
    ),
    "adamw": _BASE.replace(optimizer="adamw", learning_rate=3e-3, weight_decay=5e-2, clip=0.5, schedule="constant"),
    "plain": _BASE.replace(
        optimizer="sgd", learning_rate=0.02, momentum=0.0, weight_decay=0.0, clip=None, schedule="constant"
    ),
    "cosine": _BASE.replace(
        optimizer="adamw",
        learning_rate=3e-3,
        weight_decay=0.0,
        clip=None,
        schedule="cosine",
        warmup=0.25,
        steps=16,
    ),
}

MEAN, STD = 0.25, 2.0


def rate(settings: OptimisationSettings, step: int) -> float:
    """The learning rate of step 0, 1, …: linear from 0, then half a cosine down to 0 at the last step."""
    if settings.schedule == "constant":
        return settings.learning_rate
    warmup = min(round(settings.steps * settings.warmup), settings.steps - 1)
    if step < warmup:
        return settings.learning_rate * step / warmup
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (settings.steps - warmup)))


def batches(case: Case) -> list[tuple[np.ndarray, np.ndarray]]:
    """Four alternating batches: images in float32, as the trainer requires, and labels at the image's size.

    Values are multiples of 1/16, so that averages of images (in M-Net) are exact in float32.
    """
    rng = np.random.default_rng(9)
    image = pair.image(dataclasses.replace(case, extra=min(case.extra, 1)), batch=2, dtype="float32")
    found = []
    for _ in range(4):
        x = (np.round(16 * rng.normal(0.3, 1.0, image.shape)) / 16).astype(np.float32)
        labels = (x.mean(-1) > 0.3).astype(np.int32)
        if case.config.distance_head:
            labels = pack_distances(labels, rng.random(labels.shape, np.float32))
        found.append((x, labels))
    return found


@dataclass
class Run:
    """The result of training steps: losses, weights and statistics, the optimizer's slots, the number of steps."""

    losses: list[float] = field(default_factory=list)
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    slots: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    steps: int = 0


class JaxTrainer:
    """The trainer's step for one case, traced once."""

    def __init__(self, case: Case, settings: TrainSettings):
        self.case, self.settings, self.data = case, settings, batches(case)
        self.model = pair.jax_twin(case.config, pair.random_tensors(case.config.graph, 0, "float64"))
        self.model.train()
        channels = case.config.in_channels
        self.values = unet_jax.RunValues.of(settings, np.full(channels, MEAN), np.full(channels, STD))
        graphdef, _ = unet_jax.training.step.initial_state(self.model, settings)
        self.step = unet_jax.training.step.make_step(graphdef, settings, self.data[0][1].shape[1:])

    def __call__(self, start: Run, count: int) -> Run:
        """`count` steps from `start` on."""
        graph = self.case.config.graph
        unet_jax.weights.load_tensors(self.model, start.tensors)
        _, state = unet_jax.training.step.initial_state(self.model, self.settings)
        state["opt"] = slots.load_optax_slots(graph, state["opt"], start.slots, start.steps)
        state["step"] = jnp.asarray(start.steps, jnp.int32)
        losses = []
        for i in range(start.steps, start.steps + count):
            state, loss = self.step(state, self.values, *self.data[i % len(self.data)])
            losses.append(float(loss))
        nnx.update(self.model, state["params"], state["stats"])
        found, _ = slots.optax_slots(graph, state["opt"])
        return Run(losses, unet_jax.weights.tensors(self.model), found, int(state["step"]))


def torch_optimizer(model: torch.nn.Module, settings: OptimisationSettings) -> torch.optim.Optimizer:
    """The torch.optim optimizer for the trainer's `settings`: weight decay for kernels only, not for biases and
    norms."""
    kernels = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": kernels, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate)
    return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum)


def clip_gradients(model: torch.nn.Module, largest: float) -> float:
    """Scales all gradients down to a joint norm of `largest` if it is larger; returns the original norm.

    torch.nn.utils.clip_grad_norm_ divides by norm + 1e-6 instead; `training.clip` measures that this is the only
    difference.
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.sqrt(sum((g**2).sum() for g in gradients))
    if norm > largest:
        for g in gradients:
            g.mul_(largest / norm)
    return float(norm)


def step_noise(settings: TrainSettings, step: int, *shape: int, dtype: torch.dtype, device: Any) -> torch.Tensor:
    """The trainer's random numbers in a step for a latent variable, (N, latent), in float32; they replace
    torch.randn."""
    key = jax.random.split(jax.random.fold_in(jax.random.key(settings.optimisation.seed), step))[1]
    noise = jax.random.normal(nnx.Rngs(dropout=key).dropout(), shape, jnp.float32)
    return torch.from_numpy(np.array(noise)).to(device, dtype)


def torch_run(case: Case, start: Run, settings: TrainSettings, count: int, layout: Any = lambda t: t) -> Run:
    """The same in PyTorch."""
    model = layout(pair.torch_twin(case.config, start.tensors)).train()
    optimizer = torch_optimizer(model, settings.optimisation)
    if start.steps:
        slots.load_torch_slots(model, optimizer, start.slots, start.steps)
    data = batches(case)
    dtype = next(model.parameters()).dtype

    def of(z: torch.Tensor, y: torch.Tensor, w: torch.Tensor | None) -> torch.Tensor:
        return unet_torch.losses.cross_entropy(z, y, w, smoothing=settings.loss.smoothing)

    if case.config.distance_head:
        of = unet_torch.losses.with_distance(of, settings.loss.distance_weight)
    losses = []
    for i in range(start.steps, start.steps + count):
        image, labels = data[i % len(data)]
        for group in optimizer.param_groups:
            group["lr"] = rate(settings.optimisation, i)
        optimizer.zero_grad()
        x = layout(pair.to_torch((image - np.float32(MEAN)) / np.float32(STD)).to(dtype))
        with mock.patch.object(torch, "randn", partial(step_noise, settings, i)):
            loss = model.loss(of, x, torch.from_numpy(labels))
        loss.backward()
        if settings.optimisation.clip:
            clip_gradients(model, settings.optimisation.clip)
        optimizer.step()
        losses.append(float(loss.detach()))
    found, _ = slots.torch_slots(model, optimizer)
    return Run(losses, unet_torch.weights.tensors(model), found, start.steps + count)


def start_of(config: NetworkConfig, dtype: str = "float64") -> Run:
    return Run(tensors=pair.random_tensors(config.graph, 0, dtype))
