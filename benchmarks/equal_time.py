"""Training without settings, compared at equal time with the two recipes and with a plain PyTorch loop.

    python -m benchmarks.equal_time --data data/isbi2012 --out benchmarks/results/equal_time/isbi2012.json

Each program trains in its own process, on one core, for `--minutes` of processor time, including planning and
compilation. Its last weights are scored on held-out images (`--validate`), which are used for no choice.

- "no settings": `unet train DATA --minutes …`, which also plans the network;
- "modern", "paper-2015": the recipe with `--widths`, and as many steps as the time allows; in 3-D with same padding;
- "plain": a padded U-Net of five levels from 16 in PyTorch, batch norm, Adam at 1e-3 falling to 0, crops of 256 in
  batches of four, quarter turns and mirror images, cross entropy.

The file is written after each run. Runs that it already holds are not repeated, so a table can be made in several
sessions. A page with the table (.md) is written beside it. Other programs on the machine compete for memory bandwidth,
but their processor time is not counted.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unet_data import IGNORED, Dataset, Normalization, measure, split
from unet_data.inference.stitch import Run
from unet_data.inference.views import augmented
from unet_data.normalize import normalization_of
from unet_jax import (
    RECIPES,
    JaxRuntime,
    TrainSettings,
    compilation_cache,
    from_pretrained,
    plan_training,
    preset,
    train,
)
from unet_jax.training.planning.rules import AUTO
from unet_jax.training.planning.speed import seconds_per_step
from unet_spec import DataSpec, InputError, NetworkConfig
from unet_tools.arguments.data import open_data
from unet_tools.cli import use_large_pages
from unet_tools.console import notes, print_table, warnings_as_notes

from .ablation import MEASURES, VIEWS
from .process import check_jobs, run_each
from .record import markdown_table, mean_and_spread, open_record, start, write_with_page

NO_SETTINGS, PLAIN = "no settings", "plain"
PROGRAMS = (NO_SETTINGS, "modern", "paper-2015", PLAIN)
PLAIN_WIDTHS = (16, 32, 64, 128, 256)
CROP, BATCH = 256, 4
"""The plain loop's tile size in pixels per axis, and its tiles per step."""


@dataclass(frozen=True)
class Args:
    data: str
    """Labelled images."""
    out: Path
    """The JSON file."""
    minutes: float = 24
    """Processor time of each training, in minutes."""
    validate: str = "last"
    """Images to score, as in unet train: last is the last sixth; i/n is the i-th of n folds."""
    widths: tuple[int, ...] = (16, 32, 64, 128)
    """Feature maps per level of the recipes' network."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each program trains once with each seed."""
    programs: tuple[str, ...] = PROGRAMS
    """Programs to train."""
    jobs: int = 1
    """Number of runs at the same time, each on its own core."""


def run_keys(args: Args) -> Iterator[dict[str, Any]]:
    """The keys of the runs, ordered by seed so that an unfinished table has complete comparisons."""
    if unknown := set(args.programs) - set(PROGRAMS):
        raise InputError(f"no program {', '.join(sorted(unknown))}; there are: {', '.join(PROGRAMS)}")
    for seed in args.seeds:
        for program in args.programs:
            yield {"program": program, "minutes": args.minutes, "seed": seed}


def run_one(args: Args, key: dict[str, Any]) -> dict[str, Any]:
    """The scores of one program's last weights, its number of steps and its processor time in minutes."""
    training, validation = split(open_data(args.data), args.validate)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder, compilation_cache(Path(folder) / "xla"), warnings_as_notes():
        if key["program"] == PLAIN:
            run, config, spec, steps = train_plainly(training, 60 * key["minutes"], key["seed"])
        else:
            run, config, spec, steps = train_planned(training, key, args.widths, Path(folder) / "run")
        spent = time.process_time() - began
        scores = scores_of(run, config, spec, validation)
    made = {"steps": steps, "widths": list(config.widths), "spent": spent / 60}  # type: ignore[attr-defined]
    return scores | made


def scores_of(run: Run, config: NetworkConfig, spec: DataSpec, validation: Dataset) -> dict[str, float]:
    """The scores of the plain predictions, and those of the mean probabilities of eight views."""
    scores = measure(run, config, spec, validation, objects=True)
    viewed = measure(augmented(run, VIEWS), config, spec, validation, objects=True)
    names = [name for name in MEASURES if name in scores]
    return {name: scores[name] for name in names} | {f"{name}, {VIEWS}": viewed[name] for name in names}


def train_planned(
    training: Dataset, key: dict[str, Any], widths: tuple[int, ...], folder: Path
) -> tuple[Run, NetworkConfig, DataSpec, int]:
    """Trains as `unet train --minutes` does, with `--recipe` if the program is a recipe."""
    began = time.process_time()
    program = key["program"]
    recipe = AUTO if program == NO_SETTINGS else RECIPES[program]
    dims = training.images[0].ndim - 1
    shape = {"in_channels": training.channels, "out_channels": training.class_count, "spatial_dims": dims}
    padding = {"padding": "same"} if dims == 3 else {}  # a valid network of four levels is larger than most volumes
    config = preset(
        "paper", **shape, **({} if program == NO_SETTINGS else {"widths": widths} | recipe.network | padding)
    )
    settings = recipe.settings.replace(seed=key["seed"])
    given = {} if program == NO_SETTINGS else _values(settings)
    plan = plan_training(
        config,
        training,
        settings=settings,
        given=given,
        seconds=60 * key["minutes"],
        choose_network=program == NO_SETTINGS,
        timed=partial(seconds_per_step, clock=time.process_time),
    )
    left = 60 * key["minutes"] - (time.process_time() - began)  # the run uses the step that the plan compiled
    assert plan.step is not None
    steps = max(1, int(left / plan.step))
    train(plan.network, plan.settings.replace(steps=steps, validate_every=steps), training, None, folder)
    model = from_pretrained(folder / "last")
    return JaxRuntime(model).run, model.config, model.data, steps


def _values(settings: TrainSettings) -> dict[str, Any]:
    """Every setting of a recipe, as given by the user, so that the plan changes none."""
    values = settings.to_dict()
    del values["steps"]
    return values | values.pop("augmentation")


def train_plainly(training: Dataset, seconds: float, seed: int) -> tuple[Run, NetworkConfig, DataSpec, int]:
    """Runs a plain PyTorch training loop for a number of seconds of processor time."""
    import torch
    from torch.nn import functional

    from unet_torch import TorchRuntime, UNet

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    spec, normal = normalization_of(training), Normalization.from_dataset(training)
    assert training.labels is not None
    images = [normal.apply(_at_least(np.asarray(image))) for image in training.images]
    labels = [_at_least(np.asarray(label)).astype(np.int64) for label in training.labels]
    config = preset("same", widths=PLAIN_WIDTHS, in_channels=training.channels, out_channels=training.class_count)
    net = UNet(config).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    adam = torch.optim.Adam(net.parameters(), 1e-3)
    began, steps = time.process_time(), 0
    while (spent := time.process_time() - began) < seconds:
        for group in adam.param_groups:
            group["lr"] = 1e-3 * max(1 - spent / seconds, 0.01)
        x, y = zip(*(_crop(images, labels, rng) for _ in range(BATCH)), strict=True)
        logits = net(torch.from_numpy(np.stack(x)).permute(0, 3, 1, 2))
        loss = functional.cross_entropy(logits, torch.from_numpy(np.stack(y)), ignore_index=IGNORED)
        adam.zero_grad()
        loss.backward()
        adam.step()
        steps += 1
    return TorchRuntime(net).run, config, spec, steps


def _at_least(array: np.ndarray) -> np.ndarray:
    """The array (H, W, …), extended by mirroring along an axis that is shorter than a tile."""
    missing = [(0, max(0, CROP - size)) for size in array.shape[:2]] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, missing, mode="symmetric")


def _crop(
    images: list[np.ndarray], labels: list[np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A random tile (CROP, CROP, C) of an image and of its label, randomly turned and mirrored."""
    index = rng.integers(len(images))
    top, left = (rng.integers(size - CROP + 1) for size in labels[index].shape)
    turns, mirrored = int(rng.integers(4)), rng.random() < 0.5
    made = []
    for array in (images[index], labels[index]):
        tile = np.rot90(array[top : top + CROP, left : left + CROP], turns)
        made.append((tile[:, ::-1] if mirrored else tile).copy())
    return made[0], made[1]


def main(args: Args) -> int:
    check_jobs(args.jobs)
    training, validation = split(open_data(args.data), args.validate)
    name = Path(args.data).name
    about = f"{name}: {len(training)} images to train, {len(validation)} to score ({args.validate})"
    document = open_record("equal_time", args.out, about)
    keys = [key for key in run_keys(args) if not any(key.items() <= run.items() for run in document["runs"])]
    for key, found in run_each(run_one, args, keys, args.jobs):
        document["runs"].append(key | found)
        write_with_page(args.out, document, page(document))
        line = "  ".join(f"{m} {found[m]:.4f}" for m in MEASURES if m in found)
        text = f"{key['program']}, seed {key['seed']}: {line}; {found['steps']} steps, {found['spent']:.1f} minutes"
        notes.print(text, soft_wrap=True)
    print_table("mean ± standard deviation over the seeds", columns(document["runs"]), table(document["runs"]))
    return 0


def columns(runs: list[dict[str, Any]]) -> tuple[str, ...]:
    """The table's columns: the measures that all runs have, of the plain predictions and of eight views."""
    names = [name for name in MEASURES if all(name in run for run in runs)]
    return "program", "seeds", "widths, steps", *names, *(f"{name}, {VIEWS}" for name in names), "minutes of a core"


def table(runs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """One row for each program and time."""
    names = columns(runs)[3:-1]
    groups: dict[tuple[float, int], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["minutes"], PROGRAMS.index(run["program"])), []).append(run)
    lines = []
    for (_, program), own in sorted(groups.items()):
        cells = []
        for measure_name in names:
            values = [run[measure_name] for run in own]
            cells.append(mean_and_spread(values))
        sizes = " or ".join(dict.fromkeys(f"{run['widths'][0]} … {run['widths'][-1]}" for run in own))
        steps = f"{np.mean([run['steps'] for run in own]):.0f}"
        spent = f"{np.mean([run['spent'] for run in own]):.1f}"
        lines.append((PROGRAMS[program], str(len(own)), f"{sizes}, {steps}", *cells, spent))
    return lines


def page(document: dict[str, Any]) -> str:
    """The table in Markdown, with its command, data and hardware."""
    lines = markdown_table(columns(document["runs"]), table(document["runs"]))
    return (
        f"# Training without settings, at equal time\n\n```\n{document['command']}\n```\n\n{document['data']}. "
        f"{document['date']}; {document['hardware']}; versions in the JSON file beside this page.\n\n"
        "One core. The last weights, on images that no run trained on and that chose nothing; V_Rand, V_Info and pixel "
        f"error at the best threshold; {VIEWS}: of the mean probabilities of eight views. Mean ± standard deviation "
        f"over the seeds.\n\n{lines}\n"
    )


if __name__ == "__main__":
    use_large_pages()
    start("equal_time", Args, main, __doc__)
