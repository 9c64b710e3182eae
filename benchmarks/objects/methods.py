"""Scores of touching objects by several methods, compared on labelled images in a cross-validation.

    python -m benchmarks.objects.methods --data data/dsb2018 --out benchmarks/results/objects/dsb2018.json

Each fold of the images is scored once by each method. The network is trained on the other folds for `--minutes` of one
core, including planning and compilation, as by `unet train DATA --minutes …`. A fifth of these images is not used for
training but for choosing the object settings. The seed of a training is the number of its fold, so the deviation over
folds includes that over seeds. The last weights are scored, so that weights are not selected.

- "two classes": background and nucleus;
- "border weights": the same, with the paper's weight map (`--border-weight 10`);
- "border class": a third class between touching objects (`--objects`);
- "distance head": the predicted distance to the border beside two classes (`--distance-head`);
- "border class, distance head": both.

The file is written after each run. Runs that it already holds are not repeated. A page with the tables (.md) is written
beside it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unet_data import (
    Dataset,
    ObjectCounts,
    ObjectSettings,
    augmented,
    choose_object_settings,
    instance_scores,
    objects_of,
    split,
    with_border,
)
from unet_data.inference.stitch import Run
from unet_data.metrics.instances import object_maps
from unet_data.metrics.matching import counted, matches, overlaps
from unet_data.objects.settings import settings_for
from unet_jax import JaxRuntime, TrainSettings, compilation_cache, from_pretrained, plan_training, preset, train
from unet_jax.training.planning.rules import AUTO
from unet_jax.training.planning.speed import seconds_per_step
from unet_spec import DataSpec, InputError, NetworkConfig
from unet_tools.arguments.data import open_data
from unet_tools.cli import use_large_pages
from unet_tools.console import notes, print_table, warnings_as_notes

from ..ablation import VIEWS
from ..process import check_jobs, run_each
from ..record import markdown_table, open_record, start, write_with_page

METHODS: dict[str, dict[str, Any]] = {
    "two classes": {"border_weight": 0.0},
    "border weights": {"border_weight": 10.0},
    "border class": {"border_weight": 0.0, "objects": True},
    "distance head": {"border_weight": 0.0, "distance_head": True},
    "border class, distance head": {"border_weight": 0.0, "objects": True, "distance_head": True},
}
"""Settings of each method; the rest is planned."""

MEASURES = ("ap@0.50", "ap_mean", "dsb2018", "f1@0.50", "pq@0.50", "split", "merged")
COUNTS = ("split", "merged")
FURTHER = ("ap@0.50 of images", "ap@0.50 from 50 pixels")
"""The mean over the images of each image's AP, and the AP of objects with 50 pixels (a diameter of 8) or more."""
CONNECTED = ", connected components"
"""Suffix of the scores of connected components, which most programs use as objects."""


@dataclass(frozen=True)
class Args:
    data: str
    """Images with labels that number objects."""
    out: Path
    """The JSON file."""
    minutes: float = 10
    """Processor time of each training, in minutes."""
    folds: int = 3
    """Number of folds of the images."""
    only: tuple[int, ...] = ()
    """Folds to score, from 1. Default: all."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Methods to train."""
    jobs: int = 1
    """Number of runs at the same time, each on its own core."""


def run_keys(args: Args) -> Iterator[dict[str, Any]]:
    """The keys of the runs, fold by fold."""
    if unknown := set(args.methods) - set(METHODS):
        raise InputError(f"no method {', '.join(sorted(unknown))}; there are: {', '.join(METHODS)}")
    for fold in args.only or range(1, args.folds + 1):
        for method in args.methods:
            yield {"method": method, "fold": fold, "minutes": args.minutes}


def run_one(args: Args, key: dict[str, Any]) -> dict[str, Any]:
    """The scores of one training on its fold, its number of steps and its processor time in minutes."""
    values = dict(METHODS[key["method"]])
    learned, scored = split(open_data(args.data), f"{key['fold']}/{args.folds}")
    training, chosen_on = split(learned, "1/5")
    if values.get("objects"):
        training = with_border(training)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder, compilation_cache(Path(folder) / "xla"), warnings_as_notes():
        head = {"distance_head": values.pop("distance_head", False)}
        settings = AUTO.settings.replace(seed=key["fold"], **values)
        run, config, spec, steps = train_planned(training, settings, values, head, 60 * key["minutes"], Path(folder))
        spent = time.process_time() - began
        scores, own = scores_of(run, config, spec, chosen_on, scored)
        views = augmented(run, VIEWS, distance=config.distance_head)
        viewed, _ = scores_of(views, config, spec, chosen_on, scored)
    return (
        scores
        | {f"{name}, {VIEWS}": value for name, value in viewed.items()}
        | {"settings": own.to_dict(), "steps": steps, "widths": list(config.widths), "spent": spent / 60}  # type: ignore[attr-defined]
    )


def train_planned(
    training: Dataset, settings: TrainSettings, given: dict[str, Any], head: dict[str, bool], seconds: float, out: Path
) -> tuple[Run, NetworkConfig, DataSpec, int]:
    """Trains as `unet train DATA --minutes` does, without validation."""
    began = time.process_time()
    config = preset("paper", in_channels=training.channels, out_channels=training.class_count, **head)
    timed = partial(seconds_per_step, clock=time.process_time)
    plan = plan_training(config, training, settings=settings, given=given, seconds=seconds, timed=timed)
    left = seconds - (time.process_time() - began)
    assert plan.step is not None
    steps = max(1, int(left / plan.step))
    train(plan.network, plan.settings.replace(steps=steps, validate_every=steps), training, None, out / "run")
    model = from_pretrained(out / "run" / "last")
    return JaxRuntime(model).run, model.config, model.data, steps


def scores_of(
    run: Run, config: NetworkConfig, spec: DataSpec, chosen_on: Dataset, scored: Dataset
) -> tuple[dict[str, float], ObjectSettings]:
    """Scores of the objects of `scored`, with settings that are chosen on `chosen_on`; and these settings."""
    defaults = settings_for(spec, config)
    own, _ = choose_object_settings(*_maps(run, config, spec, chosen_on), defaults)
    unsplit = ObjectSettings(neck=0.0, border=defaults.border, distance=defaults.distance)
    maps, truths = _maps(run, config, spec, scored)
    scores: dict[str, float] = {}
    for suffix, settings in (("", own), (CONNECTED, unsplit)):
        labels = [objects_of(m, settings)[0] for m in maps]
        found = instance_scores(truths, labels) | further_scores(truths, labels)
        scores |= {name + suffix: found[name] for name in (*MEASURES, *FURTHER)}
    return scores, own


def further_scores(truths: list[np.ndarray], labels: list[np.ndarray], smallest: int = 50) -> dict[str, float]:
    """AP at an IoU of 0.5: the mean over the images with objects, and that of objects from `smallest` pixels. For a
    match, the size of the true object counts."""
    images, large = [], ObjectCounts(0, 0, 0, 0.0)
    for truth, guess in zip(truths, labels, strict=True):
        found = overlaps(truth, guess)
        images.append(counted(found, 0.5).ap)
        pairs = matches(found, 0.5)
        true, own = found.truth_sizes >= smallest, found.guess_sizes >= smallest
        matched = int(true[found.truth[pairs]].sum())
        own[found.guess[pairs]] = False
        large += ObjectCounts(matched, int(own.sum()), int(true.sum()) - matched, 0.0)
    return dict(zip(FURTHER, (float(np.nanmean(images)), large.ap), strict=True))


def _maps(
    run: Run, config: NetworkConfig, spec: DataSpec, dataset: Dataset
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The probabilities and the true objects of each image."""
    assert dataset.instances is not None
    return list(object_maps(run, config, spec, dataset)), [np.asarray(labels) for labels in dataset.instances]


def main(args: Args) -> int:
    check_jobs(args.jobs)
    dataset = open_data(args.data)
    if dataset.instances is None:
        raise InputError(f"{args.data}: this benchmark needs labels that number objects")
    about = f"{Path(args.data).name}: {len(dataset)} images in {args.folds} folds"
    document = open_record("objects.methods", args.out, about)
    keys = [key for key in run_keys(args) if not any(key.items() <= run.items() for run in document["runs"])]
    for key, found in run_each(run_one, args, keys, args.jobs):
        document["runs"].append(key | found)
        write_with_page(args.out, document, page(document))
        shown = "  ".join(f"{name} {found[name]:.3f}" for name in MEASURES)
        notes.print(f"{key['method']}, fold {key['fold']}: {shown}; {found['steps']} steps", soft_wrap=True)
    print_table("mean ± standard deviation over the folds", HEAD, table(document["runs"], ""))
    return 0


SHOWN = (*MEASURES, *FURTHER)
HEAD = ("method", "minutes", "folds", *(f"{m}, all folds" if m in COUNTS else m for m in SHOWN), "widths", "steps")


def table(runs: list[dict[str, Any]], suffix: str) -> list[tuple[str, ...]]:
    """One row for each method and time. `suffix` selects the measures: plain, of connected components, or of views."""
    groups: dict[tuple[float, int], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["minutes"], list(METHODS).index(run["method"])), []).append(run)
    lines = []
    for (minutes, method), own in sorted(groups.items()):
        cells = []
        for name in SHOWN:
            values = [run[name + suffix] for run in own if name + suffix in run]
            if len(values) < len(own):  # runs of earlier versions do not have all of them
                cells.append("")
                continue
            deviation = f" ± {np.std(values, ddof=1):.3f}" if len(own) > 1 else ""
            cells.append(f"{sum(values):.0f}" if name in COUNTS else f"{np.mean(values):.3f}{deviation}")
        widths = " or ".join(dict.fromkeys(f"{run['widths'][0]} … {run['widths'][-1]}" for run in own))
        steps = f"{np.mean([run['steps'] for run in own]):.0f}"
        lines.append((list(METHODS)[method], f"{minutes:g}", str(len(own)), *cells, widths, steps))
    return lines


def page(document: dict[str, Any]) -> str:
    """The tables in Markdown, with command, data and hardware."""
    parts = []
    titles = {
        "": "Objects of the network's probabilities; settings chosen on a fifth of the training images",
        f", {VIEWS}": f"The same of the mean probabilities of eight views ({VIEWS})",
        CONNECTED: "Connected components of the pixels with a probability of 0.5 or more; nothing is split",
    }
    for suffix, title in titles.items():
        parts.append(f"## {title}\n\n{markdown_table(HEAD, table(document['runs'], suffix))}")
    tables = "\n\n".join(parts)
    return (
        f"# Objects by method\n\n```\n{document['command']}\n```\n\n{document['data']}. {document['date']}; "
        f"{document['hardware']}; versions in the JSON file beside this page.\n\nEach training has one core and the "
        "minutes of processor time in the table. Each image is scored once, by a network that was trained without it; "
        f"each fold has its own seed. Mean ± standard deviation over the folds.\n\n{tables}\n"
    )


if __name__ == "__main__":
    use_large_pages()
    start("objects.methods", Args, main, __doc__)
