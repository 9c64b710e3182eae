"""The table of families: every architecture, narrow, trained in the same way on two public data sets, then scored.

    python -m benchmarks.families --data data --out benchmarks/results/families/families.json

--data is the folder that holds the folders of --sets. Each network is trained with its own loss on the first five
sixths of a set, for the same number of steps of the same tiles, and scored on the last sixth. The file is written after
each network. Runs that it already holds are not repeated, so the table can be made in several sessions. A page with the
table (.md) and a picture of the predictions (.png) are written beside it. The first row of each table is a baseline
without a network, which predicts the most frequent class everywhere.
"""

from __future__ import annotations

import base64
import io
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unet_data import Dataset, most_probable, predict_image, split
from unet_data.metrics.evaluate import measure
from unet_jax.training.loop import train
from unet_jax.training.settings import TrainSettings
from unet_spec import FAMILIES, Checkpoint, DataSpec, InputError, NetworkConfig, narrow
from unet_spec.files import replacing
from unet_tools.arguments.data import open_data
from unet_tools.arguments.runtimes import open_checkpoint
from unet_tools.checking.bench.hardware import hardware, versions
from unet_tools.console import notes, print_table
from unet_tools.report.model import Example
from unet_tools.report.pixels import color_errors
from unet_tools.report.style import MUTED, drawing, new_figure, to_png
from unet_tools.report.text import large

from .record import command_of, start, write_record

NETWORKS = ("same", *(next(iter(family.presets)) for name, family in FAMILIES.items() if name != "unet"))
"""One preset of each architecture. The first is the reference: the plain U-Net with same padding and batch norm."""
COLUMNS = ("network", "IoU", "V_Rand", "parameters", "multiply-adds", "seconds a step", "of U-Net's")
BASELINE = "(commonest class)"
SHOWN = 256  # pixels per axis of the shown corner of an image


@dataclass(frozen=True)
class Args:
    out: Path
    """The JSON file."""
    data: Path = Path(os.environ.get("UNET_DATA", "data"))
    """The folder of the data sets."""
    sets: tuple[str, ...] = ("dsb2018", "isbi2012")
    """Folders of the data sets."""
    networks: tuple[str, ...] = NETWORKS
    """Presets to train."""
    steps: int = 200
    """Optimizer steps of each run."""
    learning_rate: float = 2e-3
    """Peak learning rate, the same for all networks."""
    batch: int = 2
    """Tiles per step."""
    tile: int = 128
    """Input pixels per axis of a tile; multiples of 32 fit all."""
    seed: int = 0
    """Random seed."""


def main(args: Args) -> int:
    for network in args.networks:
        narrow(network)  # raises for an unknown name before anything is trained
    document = open_record(args.out)
    budget = {name: getattr(args, name) for name in ("steps", "batch", "tile", "learning_rate", "seed")}
    held_out: dict[str, Dataset] = {}
    for name in args.sets:
        dataset = open_data(str(args.data / name))
        training, held_out[name] = split(dataset, "last")
        for network in (BASELINE, *args.networks):
            key = {"data": name, "network": network, **budget}
            if any(key.items() <= run.items() for run in document["runs"]):
                continue
            notes.print(f"{name}, {network}")
            if network == BASELINE:
                found = run_baseline(training, held_out[name])
            else:
                found = run_one(with_channels(narrow(network), dataset), budget, training, held_out[name])
            document["runs"].append(key | found)
            write_record(args.out, document)
    runs = [run for run in document["runs"] if budget.items() <= run.items()]
    for name in args.sets:
        print_table(name, COLUMNS, lines(runs, name), right="1 2 3 4 5 6")
    write_page(args, document, runs, held_out)
    notes.print(f"look at {args.out.with_suffix('.md')}")
    return 0


def open_record(out: Path) -> dict[str, Any]:
    """The content of `out`, or an empty document, with the facts of this machine.
    Raises InputError if the file's runs were made on other hardware or versions: their times are not comparable.
    """
    here: dict[str, Any] = {
        "command": command_of("families"),
        "hardware": hardware(),
        "environment": {name: os.environ[name] for name in ("OMP_NUM_THREADS", "XLA_FLAGS") if name in os.environ},
        "versions": versions(),
    }
    if not out.exists():
        return {**here, "runs": []}
    document = json.loads(out.read_text())
    for name in ("hardware", "environment", "versions"):
        if document[name] != here[name]:
            raise InputError(f"{out}: its runs were made with {name} {document[name]}, not {here[name]}; name another")
    return document | here


def with_channels(config: NetworkConfig, dataset: Dataset) -> NetworkConfig:
    """The network with the data's channels and one output channel per class, also for two classes."""
    return config.replace(in_channels=dataset.channels, out_channels=max(dataset.class_count, 2))


def run_one(config: NetworkConfig, budget: dict[str, int], training: Dataset, validation: Dataset) -> dict[str, Any]:
    """Trains in a temporary folder and scores the last weights in ONNX Runtime."""
    settings = TrainSettings.from_dict(budget | {"validate_every": budget["steps"]}, "the budget")
    with tempfile.TemporaryDirectory() as folder:
        result = train(config, settings, training, None, Path(folder) / "run")
        if result.stop_signal is not None:
            raise InputError("stopped; what is finished is kept, and the same command goes on from there")
        checkpoint = Checkpoint.load(Path(folder) / "run" / "last")
    rates = [record["steps_per_second"] for record in result.log if "steps_per_second" in record]
    rates = rates[1:] or rates  # the first steps compile
    run = open_checkpoint(checkpoint, "onnx").run
    scores = measure(run, config, checkpoint.data, validation, objects=True)
    return {
        "parameters": config.graph.parameter_count,
        "macs": sum(config.graph.macs(settings.data.tile_shape(config)).values()),
        "seconds_per_step": 1 / max(rates),  # other load makes steps slower, never faster
        "loss": [record["loss"] for record in result.log if "loss" in record],
        **scores,
        "date": datetime.now(UTC).date().isoformat(),
        "shown": packed(most_probable(predict_image(run, cut(validation.images[0]), config, checkpoint.data))),
    }


def run_baseline(training: Dataset, validation: Dataset) -> dict[str, Any]:
    """The scores of predicting the most frequent class of the training data for every pixel."""
    config = with_channels(narrow("same"), training)
    assert training.labels is not None
    counts = sum(np.bincount(label.ravel(), minlength=config.classes) for label in map(np.asarray, training.labels))
    answer = np.eye(config.classes, dtype=np.float32)[np.argmax(counts)]

    def run(x: np.ndarray) -> np.ndarray:
        return np.tile(answer, (*x.shape[:-1], 1))

    return measure(run, config, DataSpec(), validation, objects=True) | {"date": datetime.now(UTC).date().isoformat()}


def cut(image: np.ndarray) -> np.ndarray:
    """The corner of the image that the picture shows."""
    return image[:SHOWN, :SHOWN]


def packed(indices: np.ndarray) -> str:
    """Class numbers (H, W) as a PNG in base64."""
    buffer = io.BytesIO()
    Image.fromarray(indices.astype(np.uint8)).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def unpacked(text: str) -> np.ndarray:
    """The inverse of `packed`."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def lines(runs: Iterable[dict[str, Any]], data: str) -> list[tuple[str, ...]]:
    """One row per network. The last column is the time per step divided by that of the plain U-Net."""
    here = [run for run in runs if run["data"] == data]
    unit = next((run["seconds_per_step"] for run in here if run["network"] == NETWORKS[0]), None)
    table: list[tuple[str, ...]] = []
    for run in here:
        scores = (f"{run['iou']:.3f}", f"{run['v_rand']:.3f}")
        if run["network"] == BASELINE:
            table.append((BASELINE, *scores, *[""] * 4))
            continue
        name = run["network"] + (" (U-Net)" if run["network"] == NETWORKS[0] else "")
        seconds = run["seconds_per_step"]
        ratio = f"{seconds / unit:.1f}" if unit else ""
        table.append((name, *scores, f"{run['parameters']:,}", large(run["macs"]), f"{seconds:.2f}", ratio))
    return table


def write_page(args: Args, document: dict[str, Any], runs: list[dict[str, Any]], held_out: dict[str, Dataset]) -> None:
    """Writes the page and its picture beside the JSON file."""
    picture = args.out.with_suffix(".png")
    with replacing(picture) as temporary:
        temporary.write_bytes(to_png(overlays(runs, held_out), 130))
    dates = sorted({run["date"] for run in runs})
    made = [document["hardware"], *(f"{k}={v}" for k, v in document["environment"].items())]
    made += [
        ", ".join(f"{k} {v}" for k, v in document["versions"].items()),
        " to ".join(dict.fromkeys((dates[0], dates[-1]))),
    ]
    text = [
        "# The families, trained alike",
        "",
        f"`{document['command']}`",
        "",
        f"{'; '.join(made)}.",
        "",
        f"A small, equal budget: {args.steps} steps of {args.batch} tiles of {args.tile}x{args.tile} pixels, learning"
        f" rate {args.learning_rate:g}, one seed, networks far narrower than their papers' (`unet_spec.narrow`), each"
        " with its own loss and otherwise the same settings, which suit none in particular. It shows that every one of"
        " them trains and what a step of it costs here. It is no ranking: with so few steps, one seed and these widths,"
        " the order says little.",
        "",
        "Scored on the last sixth of each set, which no run trained on: mean IoU of the classes over all pixels; V_Rand"
        " after border thinning, at the best threshold; of the Probabilistic U-Net, the hypothesis of its"
        f" prior's mean. {BASELINE}: the same answer for every pixel. Multiply-adds are of one tile. Seconds a step:"
        " the fastest ten steps of the run, compilation not among them.",
    ]
    for name in args.sets:
        text += ["", f"## {name}", "", f"| {' | '.join(COLUMNS)} |", "|---|" + "---:|" * (len(COLUMNS) - 1)]
        text += [f"| {' | '.join(line)} |" for line in lines(runs, name)]
    text += ["", f"![What each network found; orange: wrongly class 1, blue: missed]({picture.name})", ""]
    with replacing(args.out.with_suffix(".md")) as temporary:
        temporary.write_text("\n".join(text), encoding="utf-8")


def overlays(runs: list[dict[str, Any]], held_out: dict[str, Dataset]) -> Any:
    """A figure with a row per data set: the image, then the errors of each network on it."""
    networks = list(dict.fromkeys(run["network"] for run in runs if "shown" in run))
    with drawing():
        side = 1.35
        figure = new_figure(side * (len(networks) + 1), (side + 0.2) * len(held_out))
        grid = figure.subplots(len(held_out), len(networks) + 1, squeeze=False)
        figure.subplots_adjust(left=0.005, right=0.995, bottom=0.01, top=0.93, wspace=0.04, hspace=0.12)
        for row, (name, dataset) in zip(grid, held_out.items(), strict=True):
            assert dataset.labels is not None
            image, truth = cut(dataset.images[0]), cut(dataset.labels[0])
            shown = image[..., :3] if image.shape[-1] >= 3 else image[..., 0]
            row[0].imshow(shown, cmap="gray")
            row[0].set_title(name, fontsize=7)
            for axes, network in zip(row[1:], networks, strict=True):
                run = next((r for r in runs if (r["data"], r["network"]) == (name, network)), None)
                if run is not None:
                    axes.imshow(color_errors(Example(network, shown, truth, unpacked(run["shown"]))))
                    axes.set_title(f"{network}  {run['iou']:.2f}", fontsize=6, color=MUTED)
            for axes in row:
                axes.set_axis_off()
    return figure


if __name__ == "__main__":
    start("families", Args, main, __doc__)
