"""Time per step and memory of complete trainings on few and on many images.

    python -m benchmarks.loading --out benchmarks/results/training/loading.json

Writes images of membranes as TIFF files and trains on them with `unet_jax.training.loop`, with augmentation, in memory
and with grain. Each training runs in its own process. The network is small, so that slow loading would be visible.
Memory is that of the training process after a tenth of its steps and after the last one, without grain's workers.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unet_data.memory import resident
from unet_tools.cli import LARGE_PAGES, use_large_pages
from unet_tools.console import print_table

from .process import Apart
from .record import record_of, start, write_record

Loader = Literal["memory", "grain"]
DISTINCT = 8
"""Number of different images; larger data sets repeat them."""


@dataclass(frozen=True)
class Args:
    images: tuple[int, ...] = (8, 64, 512)
    """Numbers of images to train on. None is held out for validation."""
    size: int = 512
    """Pixels per axis of an image."""
    loaders: tuple[Loader, ...] = ("memory", "grain")
    """Loaders to measure."""
    workers: int = 1
    """Number of worker processes of grain."""
    steps: int = 2000
    """Number of steps per training."""
    tile: int = 92
    """Input pixels per axis."""
    widths: tuple[int, ...] = (4, 8)
    """Feature maps per level."""
    out: Path | None = None
    """A JSON file for the results."""


def write_images(folder: Path, count: int, size: int) -> None:
    """Writes images/ and labels/ as uncompressed TIFF files."""
    import tifffile

    from unet_data import membranes

    drawn = membranes(DISTINCT, size, 0)
    assert drawn.labels is not None
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for k in range(count):
        image, label = drawn.images[k % DISTINCT], drawn.labels[k % DISTINCT]
        tifffile.imwrite(folder / "images" / f"{k:05}.tif", image[..., 0])
        tifffile.imwrite(folder / "labels" / f"{k:05}.tif", (label * 255).astype(np.uint8))


def training(folder: Path, loader: Loader, args: Args) -> Callable[[], dict[str, Any]]:
    """A function that trains in the process that calls it, and returns time and memory."""

    def run() -> dict[str, Any]:
        from unet_jax.training.loop import train
        from unet_jax.training.settings import TrainSettings
        from unet_spec import preset
        from unet_tools.arguments.data import open_data

        config = preset("paper", widths=args.widths, dropout=0.0)
        every = max(1, args.steps // 40)
        settings = TrainSettings().replace(
            steps=args.steps, tile=args.tile, loader=loader, workers=args.workers, border_weight=10.0,
            log_every=every, validate_every=args.steps,
        )  # fmt: skip
        start, began, memory = time.perf_counter(), 0.0, {}

        def report(record: dict[str, Any]) -> None:
            nonlocal began
            if "loss" in record:
                began = began or time.perf_counter() - start
                memory[record["step"]] = resident()

        with tempfile.TemporaryDirectory() as out:
            data = open_data(str(folder), 2, 0, loader == "grain")
            result = train(config, settings, data, None, Path(out) / "run", report=report)
        seconds = [1 / r["steps_per_second"] for r in result.log[2:] if "steps_per_second" in r]
        early = min((step for step in memory if step >= args.steps / 10), default=args.steps)
        return {
            "seconds_per_step": float(np.median(seconds)),
            "seconds_to_first_line": began,
            "early_step": early,
            "mib_early": memory[early] / 2**20,
            "mib_end": memory[max(memory)] / 2**20,
        }

    return run


def main(args: Args) -> int:
    lines = []
    for count in args.images:
        with tempfile.TemporaryDirectory() as folder:
            write_images(Path(folder) / "data", count, args.size)
            for loader in args.loaders:
                with Apart(training, Path(folder) / "data", loader, args) as run:
                    lines.append({"loader": loader, "images": count, "steps": args.steps} | run())
    columns = list(lines[0])
    shown = [tuple(f"{v:.4g}" if isinstance(v, float) else str(v) for v in line.values()) for line in lines]
    title = f"tile {args.tile}, images of {args.size} pixels per axis"
    print_table(title, tuple(columns), shown, right="1 2 3 4 5 6 7")
    if args.out:
        pages = {LARGE_PAGES[0]: os.environ.get(LARGE_PAGES[0])}
        write_record(args.out, record_of("loading", **pages, lines=lines))
    return 0


if __name__ == "__main__":
    use_large_pages()
    start("loading", Args, main, __doc__)
