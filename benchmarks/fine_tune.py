"""Fine-tuning on few images from a network trained on images of another appearance, versus training from scratch.

    python -m benchmarks.fine_tune --data data/dsb2018 --out benchmarks/results/fine_tune/nuclei.json

The images are divided by the grey value of their background, which is their median. Images with a bright background
train the first network. Of those with a dark background, every second one is scored, and each seed draws a few of the
others (`--images`) to train on. "anew" starts from new weights, "fine-tuned" from those of the first network, "frozen
encoder" likewise but with `freeze=("encoder",)`; "as it is" is the first network without further training. All use the
same recipe, steps and seeds. The last weights are scored, so that no image is used for a choice.

The file is written after each run. Runs that it already holds are not repeated. A page (.md) is written beside it.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unet_data import Dataset, measure_in_detail
from unet_jax import RECIPES, JaxRuntime, TrainSettings, compilation_cache, from_pretrained, train
from unet_jax.training.planning.recipes import RecipeName
from unet_spec import InputError, NetworkConfig, preset
from unet_spec.files import writing
from unet_tools.arguments.data import open_data
from unet_tools.cli import use_large_pages
from unet_tools.console import notes, print_table, warnings_as_notes

from .record import mean_and_spread, record_of, start, write_record

AS_IS, ANEW, TUNED, FROZEN = "as it is", "anew", "fine-tuned", "frozen encoder"
VARIANTS = (AS_IS, ANEW, TUNED, FROZEN)
MEASURES = ("foreground_iou", "iou", "pixel_error")


@dataclass(frozen=True)
class Args:
    data: Path
    """Labelled images, some with a bright and some with a dark background."""
    out: Path
    """The JSON file."""
    images: int = 4
    """Number of images with a dark background to train on."""
    ground: float = 10
    """Images with this median grey value or more, in the units of the files, have a bright background."""
    widths: tuple[int, ...] = (8, 16, 32, 64)
    """Feature maps per level."""
    recipe: RecipeName = "modern"
    """Recipe of every training."""
    tile: int = 188
    """Input pixels per axis of a training tile."""
    before: int = 200
    """Steps of the training on images with a bright background."""
    steps: tuple[int, ...] = (100,)
    """Steps on the few images; each number is a separate training."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Random seeds, for the choice of images and for both trainings."""


@dataclass(frozen=True)
class Parts:
    """Images with a bright background; those with a dark one to draw from; those with a dark one to score."""

    bright: Dataset
    drawn_from: Dataset
    scored: Dataset


def parts_of(dataset: Dataset, ground: float, images: int) -> Parts:
    """The three disjoint parts. Raises InputError if one has too few images."""
    medians = [float(np.median(np.asarray(image))) for image in dataset.images]
    bright = [i for i, value in enumerate(medians) if value >= ground]
    dark = [i for i, value in enumerate(medians) if value < ground]
    if not bright or len(dark) < 2 * images:
        raise InputError(
            f"{dataset.source}: {len(bright)} images with a median from {ground:g} and {len(dark)} below it; "
            f"1 and {2 * images} are needed: give another --ground"
        )
    return Parts(*map(dataset.subset, (bright, dark[::2], dark[1::2])))


def drawn(pool: Dataset, images: int, seed: int) -> Dataset:
    """`images` images drawn at random by the seed, in the order of the pool."""
    return pool.subset(sorted(np.random.default_rng(seed).permutation(len(pool))[:images].tolist()))


def run_keys(args: Args) -> Iterator[dict[str, Any]]:
    """The keys of the runs, ordered by seed so that an unfinished table has complete comparisons."""
    budget = {"recipe": args.recipe, "widths": list(args.widths), "tile": args.tile, "images": args.images}
    budget |= {"ground": args.ground, "before": args.before}
    for seed in args.seeds:
        yield budget | {"variant": AS_IS, "steps": 0, "seed": seed}
        for steps in args.steps:
            for variant in (ANEW, TUNED, FROZEN):
                yield budget | {"variant": variant, "steps": steps, "seed": seed}


def settings_of(args: Args, seed: int, steps: int) -> TrainSettings:
    settings = RECIPES[args.recipe].settings
    return settings.replace(steps=steps, tile=args.tile, seed=seed, validate_every=steps)


def network_of(args: Args, dataset: Dataset) -> NetworkConfig:
    changes = RECIPES[args.recipe].network
    return preset("paper", widths=args.widths, in_channels=dataset.channels, out_channels=2, **changes)


def scores_of(folder: Path, dataset: Dataset) -> dict[str, float]:
    """The scores of the checkpoint in a folder, with the most probable class of each pixel."""
    model = from_pretrained(folder)
    found = measure_in_detail(JaxRuntime(model).run, model.config, model.data, dataset)
    return {"foreground_iou": float(found.classes[1]["iou"])} | {m: float(found.scores[m]) for m in MEASURES[1:]}


def run_one(args: Args, key: dict[str, Any], parts: Parts, weights: Path, folder: Path) -> dict[str, Any]:
    """The scores and seconds of one run. `weights` is the checkpoint trained on bright backgrounds."""
    if key["variant"] == AS_IS:
        return scores_of(weights, parts.scored) | {"seconds": 0.0}
    settings = settings_of(args, key["seed"], key["steps"])
    if key["variant"] != ANEW:
        settings = settings.replace(weights=str(weights), freeze=("encoder",) if key["variant"] == FROZEN else ())
    few, begun = drawn(parts.drawn_from, args.images, key["seed"]), time.perf_counter()
    train(network_of(args, few), settings, few, None, folder)
    seconds = time.perf_counter() - begun
    return scores_of(folder / "last", parts.scored) | {"seconds": seconds, "drawn": list(few.names)}


def main(args: Args) -> int:
    dataset = open_data(str(args.data))
    parts = parts_of(dataset, args.ground, args.images)
    document: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {"runs": []}
    about = (
        f"{args.data.name}: {len(parts.bright)} images with a bright ground; of those with a dark one "
        f"{len(parts.drawn_from)} to draw {args.images} from, {len(parts.scored)} to score"
    )
    if document["runs"] and document["data"] != about:
        raise InputError(f"{args.out} is of {document['data']}, not of {about}; give another --out")
    document = record_of("fine_tune", data=about) | {"runs": document["runs"]}
    with tempfile.TemporaryDirectory() as temporary, compilation_cache(Path(temporary) / "xla"), warnings_as_notes():
        for number, key in enumerate(run_keys(args)):
            if any(key.items() <= run.items() for run in document["runs"]):
                continue
            weights = Path(temporary) / f"bright{key['seed']}"
            if not weights.exists():
                settings = settings_of(args, key["seed"], args.before)
                train(network_of(args, dataset), settings, parts.bright, None, weights)
            found = run_one(args, key, parts, weights / "last", Path(temporary) / f"run{number}")
            document["runs"].append(key | found)
            write_record(args.out, document)
            with writing(args.out.with_suffix(".md")) as page_file:
                page_file.write_text(page(document))
            line = "  ".join(f"{m} {found[m]:.4f}" for m in MEASURES)
            text = f"{key['variant']}, {key['steps']} steps, seed {key['seed']}: {line}"
            notes.print(text, soft_wrap=True)
    print_table("mean ± standard deviation over the seeds", COLUMNS, table(document["runs"]))
    return 0


COLUMNS = ("begun", "images, steps", "seeds", "foreground IoU", "mean IoU", "pixel error", "seed by seed")


def table(runs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """One row for each variant and number of steps, the fewest steps first."""
    groups: dict[tuple[int, int, int], list[dict[str, Any]]] = {}
    for run in sorted(runs, key=lambda run: run["seed"]):
        groups.setdefault((run["images"], run["steps"], VARIANTS.index(run["variant"])), []).append(run)
    lines = []
    for images, steps, variant in sorted(groups):
        own, cells = groups[images, steps, variant], []
        for measure in MEASURES:
            values = [run[measure] for run in own]
            cells.append(mean_and_spread(values))
        each = ", ".join(f"{run[MEASURES[0]]:.3f}" for run in own)
        count = f"{images}, {steps}" if steps else "none"
        lines.append((VARIANTS[variant], count, str(len(own)), *cells, each))
    return lines


def page(document: dict[str, Any]) -> str:
    """The table in Markdown, with its command, data and hardware."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *table(document["runs"])]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return (
        f"# What weights are worth with few images\n\n```\n{document['command']}\n```\n\n{document['data']}. "
        f"{document['date']}; {document['hardware']}; versions in the JSON file beside this page.\n\n"
        "The last weights, on images that no run trained on and that chose nothing; the most probable class of each "
        "pixel. As it is: the network of the bright ground, without a step on the dark one. Mean ± standard deviation "
        f"over the seeds, which draw the images, too.\n\n{lines}\n"
    )


if __name__ == "__main__":
    use_large_pages()
    start("fine_tune", Args, main, __doc__)
