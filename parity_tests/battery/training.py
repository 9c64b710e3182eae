"""Training: optimizer steps, slots, whole trajectories, and a hand-over between the frameworks during a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch

from unet_jax.training.settings import TrainSettings
from unet_spec import Graph, NetworkConfig

from . import noise, pair
from .cases import Case
from .gauge import gauge_parameters
from .layers import without_dropout
from .measure import FORWARD_BOUND, ONCE, TRAJECTORY_BOUND, Reading, check, farthest
from .trainers import SETTINGS, JaxTrainer, Run, batches, clip_gradients, start_of, torch_run


def undetermined(graph: Graph, settings: TrainSettings) -> set[str]:
    """Tensors that depend only on rounding noise, and have no effect.

    Adam divides a gradient by its own size, so a gauge bias, whose gradient is noise, moves at full speed in a random
    direction. Batch norm removes this from the logits, but not from its running mean. SGD moves such a bias only by the
    noise itself, so with SGD all tensors are compared.
    """
    if settings.optimisation.optimizer != "adamw":
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
    gauge = set(gauge_parameters(graph))  # their slots are sums of noise with any optimizer
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


def _chaotic(config: NetworkConfig) -> str:
    """The reason why trajectories of this network prove nothing. ResNet U-Net: a change of the initial weights by half
    a float64 unit in the last place changes the weights after 100 steps of AdamW by 1.3 %, within one twin."""
    if config.architecture == "resnet-unet":
        return "chaotic: half a unit in the last place of the initial weights changes as much as the other twin does"
    return ""


@check("training.sgd")
def sgd(case: Case) -> Iterator[Reading]:
    """100 steps of SGD with momentum, decay and clipping, and a hand-over each way.

    Losses, weights, statistics and momentum.
    """
    yield from _optimizer(case, "sgd", 100, 6)


@check("training.adamw", unless=_chaotic)
def adamw(case: Case) -> Iterator[Reading]:
    """100 steps of AdamW, and a hand-over each way.

    Losses, weights, statistics, both moments and the count of steps.
    """
    yield from _optimizer(case, "adamw", 100, 6)


@check("training.schedule")
def schedule(case: Case) -> Iterator[Reading]:
    """A whole run under the schedule, from warm-up to the last step.

    Optax computes the rate in float32, whatever the weights: each step is off by a few units in its last place, and
    so is their sum.
    """
    case, settings = dataclasses.replace(case, config=without_dropout(case.config)), SETTINGS["cosine"]
    start, count = start_of(case.config), settings.optimisation.steps
    found, wanted = JaxTrainer(case, settings)(start, count), torch_run(case, start, settings, count)
    worst, where = compare(case, settings, found, wanted)["weights"]
    moved, _ = farthest(start.tensors, wanted.tensors)
    yield Reading("jax, torch", "float64", worst, noise.FACTOR * noise.ULP * moved, where)


@check("training.plain")
def plain(case: Case) -> Iterator[Reading]:
    """20 steps of SGD without momentum, decay or clipping, and a hand-over each way."""
    yield from _optimizer(case, "plain", 20, 3)


@check("training.float32", unless=_chaotic)
def single(case: Case) -> Iterator[Reading]:
    """Ten steps in float32 against float64.

    The noise floor: contiguous against channels_last; what half a unit in the last place in every initial weight
    has become by then; and what keeping weights, after every step, and layers' outputs in float32 has; of the loss,
    also what adding its pixels one by one loses.
    """
    case = dataclasses.replace(case, config=without_dropout(case.config))
    for name in ("sgd", "adamw"):
        settings = SETTINGS[name]
        start = start_of(case.config, "float32")
        exact = Run(tensors=pair.double(start.tensors))
        wanted = torch_run(case, exact, settings, 10)
        near = torch_run(case, Run(tensors=noise.rounded_inputs(start.tensors, 1)), settings, 10)
        kept = torch_run(case, exact, settings, 10, noise.stored_in_float32)
        found = {"torch": torch_run(case, start, settings, 10), "jax": JaxTrainer(case, settings)(start, 10)}
        other = torch_run(case, start, settings, 10, pair.channels_last)
        for what in ("loss", "weights"):
            base = max(*(compare(case, settings, run, wanted)[what][0] for run in (near, kept)), 2 * noise.ULP)
            if what == "loss":  # a mean over the pixels
                base = max(base, noise.summation(batches(case)[0][1].size))
            twin = compare(case, settings, other, found["torch"])[what][0]
            floor = max(base, min(twin, noise.CAP * base))
            for runtime, run in found.items():
                worst, where = compare(case, settings, run, wanted)[what]
                yield Reading(runtime, "float32", worst, noise.FACTOR * floor, f"{name}, {what}, {where}")


@check("training.clip", only=ONCE)
def clip(case: Case) -> Iterator[Reading]:
    """Our clipping of gradients against PyTorch's own, but for its 1e-6.

    PyTorch's factor is norm / (norm + 1e-6).
    """
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
