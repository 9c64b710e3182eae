"""Cost of objects in an image larger than memory, compared with the prediction of classes alone.

    python -m benchmarks.objects.image --out benchmarks/results/objects/image.json [--size 20000] [--memory 3GiB]

Draws an image of synthetic nuclei, trains a small network on other such nuclei (`--steps`), then runs `unet predict` on
the image twice, each time in a separate process with `--memory`: for the class of each pixel, and for objects with
their table. The difference is the cost of objects. Times are wall-clock and processor seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tifffile
import tyro

from unet_data import Dataset
from unet_jax import preset, train
from unet_jax.training.planning.rules import AUTO
from unet_spec import InputError
from unet_tools.console import notes, print_table

from ..record import record_of, start, write_record
from .large import nuclei

TILE = 512
"""Pixels per axis of a tile of the TIFF file."""

FAR = 10**6
"""First row of the nuclei for training, so that none of them is in the image."""


@dataclass(frozen=True)
class Args:
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The JSON file to write."""
    size: int = 20000
    """Image size in pixels per axis."""
    memory: str = "3GiB"
    """Memory limit of each prediction."""
    steps: int = 300
    """Steps of the training."""
    widths: tuple[int, ...] = (16, 32, 64)
    """Feature maps per level of the network."""
    runtime: str = "onnx"
    """Runtime of the prediction, as in unet predict."""


def picture(low: tuple[int, ...], high: tuple[int, ...]) -> np.ndarray:
    """A window of the image, uint8: nuclei of brightness 40 to 160 with noise on a dark background."""
    noise = np.random.default_rng((*low, *high)).normal(0, 12, np.subtract(high, low))
    return np.clip(40 + 120 / 255 * nuclei(low, high) + noise, 0, 255).astype(np.uint8)


def draw(path: Path, size: int) -> None:
    """Writes the image as a tiled TIFF file, tile by tile."""

    def tiles() -> Iterator[np.ndarray]:
        for top in range(0, size, TILE):
            for left in range(0, size, TILE):
                yield picture((top, left), (top + TILE, left + TILE))

    tifffile.imwrite(
        path,
        tiles(),
        shape=(size, size),
        dtype=np.uint8,
        tile=(TILE, TILE),
        compression="zlib",
        photometric="minisblack",
    )


def training_data(count: int = 12, size: int = 256) -> Dataset:
    """Training windows far away from the image, with the class of each pixel."""
    corners = [(FAR + index * size, 0) for index in range(count)]
    windows = [(low, (low[0] + size, low[1] + size)) for low in corners]
    return Dataset(
        tuple(picture(*window)[..., None] for window in windows),
        tuple((nuclei(*window) > 127).astype(np.int32) for window in windows),
        tuple(f"{low[0]}" for low in corners),
        ("background", "nucleus"),
        "drawn",
    )


def predict(run: Path, image: Path, out: Path, args: Args, *flags: str) -> dict[str, float]:
    """Wall-clock seconds, processor seconds and peak memory of one `unet predict`. Raises InputError if it fails."""
    command = [sys.executable, "-m", "unet_tools.cli", "predict", str(run), str(image), "-o", str(out)]
    command += ["--memory", args.memory, "--runtime", args.runtime, *flags]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    lines = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise InputError(f"unet predict ended with exit code {process.returncode}: {lines.strip()[-300:]}")
    for line in lines.splitlines():
        notes.print(line, soft_wrap=True, markup=False)
    return {
        "seconds": time.perf_counter() - began,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * 1024,
    }


def main(args: Args) -> int:
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        image, run = Path(folder) / "nuclei.tif", Path(folder) / "run"
        settings = AUTO.settings.replace(tile=140, steps=args.steps, validate_every=args.steps)
        network = preset("paper", **(AUTO.network | {"widths": args.widths, "in_channels": 1}))
        train(network, settings, training_data(), None, run)
        notes.print("trained; drawing the image", soft_wrap=True)
        draw(image, args.size)
        results["classes"] = predict(run / "last", image, Path(folder) / "classes.tif", args)
        table = Path(folder) / "table.csv"
        flags = ("--output", "objects", "--table", str(table))
        results["objects"] = predict(run / "last", image, Path(folder) / "objects.tif", args, *flags)
        with table.open() as lines:
            count = sum(1 for _ in lines) - 1
    record: dict[str, Any] = {"size": args.size, "memory": args.memory, "objects": count, "results": results}
    write_record(args.out, record_of("objects.image", **record))
    rows = [
        (name, f"{v['seconds']:.0f}", f"{v['processor_seconds']:.0f}", f"{v['peak_bytes'] / 2**30:.2f}")
        for name, v in results.items()
    ]
    print_table(f"{count:,} objects", ("output", "seconds", "seconds of the processor", "GiB at most"), rows)
    return 0


if __name__ == "__main__":
    start("objects.image", Args, main, __doc__)
