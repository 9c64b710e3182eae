"""The ablation table: each recipe whole, then without one of its ingredients at a time, over several seeds.

    python -m unet_tools.ablation --data data/isbi2012 --widths 8 16 32 64 --steps 1500 --out ablation.json

Trains on the first five sixths and scores the best checkpoint (by IoU) on the last sixth. The file is written after
each run; runs that it already holds are not repeated, so a table may be made in several sittings.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from unet_data import Dataset, split
from unet_data.evaluate import measure
from unet_jax.augment import NONE
from unet_jax.recipes import RECIPES, RecipeName
from unet_jax.runtime import JaxRuntime
from unet_jax.settings import TrainSettings
from unet_jax.train import train
from unet_jax.zoo import from_pretrained
from unet_spec import NetworkConfig, preset
from unet_spec.checkpoint import replacing
from unet_tools.bench_measure import versions
from unet_tools.console import notes, print_table
from unet_tools.data import open_data
from unet_tools.demo import hardware

Change = Callable[[TrainSettings, NetworkConfig], tuple[TrainSettings, NetworkConfig]]

MEASURES = ("v_rand", "v_info", "pixel_error", "iou")


def _set(**changes: Any) -> Change:
    return lambda s, c: (dataclasses.replace(s, **changes), c)


def _augment(**changes: Any) -> Change:
    return lambda s, c: (dataclasses.replace(s, augmentation=dataclasses.replace(s.augmentation, **changes)), c)


def _network(**changes: Any) -> Change:
    return lambda s, c: (s, c.replace(**changes))


VARIANTS: dict[RecipeName, dict[str, Change]] = {
    "paper-2015": {
        "whole": _set(),
        "no border weights": _set(border_weight=0.0),
        "no class balancing": _set(balance=False),
        "no elastic deformation": _augment(elastic=0.0),
        "no augmentation": _set(augmentation=NONE),
        "no dropout": _network(dropout=0.0),
    },
    "modern": {
        "whole": _set(),
        "no EMA": _set(ema=0.0),
        "no Dice": _set(loss="cross_entropy"),
        "no label smoothing": _set(smoothing=0.0),
        "no batch norm": _network(norm="none"),
        "no elastic deformation": _augment(elastic=0.0),
        "no augmentation": _set(augmentation=NONE),
        "with border weights": _set(border_weight=10.0, balance=True),
    },
}


@dataclass(frozen=True)
class Args:
    data: str
    """Labelled images."""
    out: Path
    """The JSON file."""
    widths: tuple[int, ...] = (8, 16, 32, 64)
    """Feature maps per level."""
    steps: int = 1500
    """Optimizer steps of each run."""
    tile: int = 252
    """Input pixels per axis of a training tile."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each variant is trained once with each."""
    recipes: tuple[RecipeName, ...] = ("paper-2015", "modern")
    """Which tables to make."""
    only: tuple[str, ...] = ()
    """Variants, by name. Default: all."""


def run_one(training: Dataset, validation: Dataset, config: NetworkConfig, settings: TrainSettings) -> dict[str, float]:
    """Trains in a folder that is thrown away; the scores of the best checkpoint, and the seconds that it took."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        train(config, settings, training, validation, Path(folder) / "run")
        seconds = time.perf_counter() - start
        model = from_pretrained(Path(folder) / "run" / "best")
        scores = measure(JaxRuntime(model).run, config, model.data, validation, objects=True, warp=True)
    return scores | {"seconds": seconds}


def main(args: Args) -> int:
    dataset = open_data(args.data)
    training, validation = split(dataset)
    document: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {"runs": []}
    document |= {
        "command": shlex.join(["python", "-m", "unet_tools.ablation", *sys.argv[1:]]),
        "data": f"{Path(args.data).name}: {len(training)} images to train, {len(validation)} to validate",
        "hardware": hardware(),
        "versions": versions(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    for seed in args.seeds:
        for recipe in args.recipes:
            for name, change in VARIANTS[recipe].items():
                if args.only and name not in args.only:
                    continue
                key = {"recipe": recipe, "variant": name, "seed": seed, "steps": args.steps, "tile": args.tile}
                key |= {"widths": list(args.widths)}
                if any(key.items() <= {k: r[k] for k in key}.items() for r in document["runs"]):
                    continue
                settings = dataclasses.replace(
                    RECIPES[recipe].settings, steps=args.steps, tile=args.tile, seed=seed, validate_every=args.steps
                )
                config = preset("paper", widths=args.widths, in_channels=dataset.channels, **RECIPES[recipe].network)
                settings, config = change(settings, config)
                scores = run_one(training, validation, config, settings)
                document["runs"].append(key | scores)
                args.out.parent.mkdir(parents=True, exist_ok=True)
                with replacing(args.out) as temporary:
                    temporary.write_text(json.dumps(document, indent=1) + "\n")
                told = "  ".join(f"{m} {scores[m]:.4f}" for m in MEASURES)
                notes.print(f"{recipe}, {name}, seed {seed}: {told}  {scores['seconds']:.0f} s")
    print_table(
        "mean ± standard deviation over the seeds", ("recipe", "variant", "n", *MEASURES), table(document["runs"])
    )
    return 0


def table(runs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """One line a variant."""
    lines = []
    for recipe, variant in dict.fromkeys((r["recipe"], r["variant"]) for r in runs):
        own = [r for r in runs if (r["recipe"], r["variant"]) == (recipe, variant)]
        cells = []
        for m in MEASURES:
            values = [r[m] for r in own]
            cells.append(f"{np.mean(values):.4f}" + (f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""))
        lines.append((recipe, variant, str(len(own)), *cells))
    return lines


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Args)))
