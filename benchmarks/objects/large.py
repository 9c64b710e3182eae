"""Time of objects in a large image: synthetic touching nuclei, from probabilities to labels and a table.

    python -m benchmarks.objects.large -o benchmarks/results/objects/nuclei.json [--size 20000] [--memory 3GiB]

The probabilities are generated window by window and are never in memory as a whole. The time to generate them is
subtracted, so that the times are those of the objects alone. Times are wall-clock.
"""

from __future__ import annotations

import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from unet_data import ObjectSettings
from unet_data.memory import peak_resident, resident
from unet_data.objects.labels_file import write_labels
from unet_data.objects.streaming import label_image
from unet_data.objects.table import measure_objects, write_table
from unet_spec.files import parse_bytes
from unet_tools.console import notes

from ..record import record_of, start, write_record

PITCH = 58
"""Pixels between the nuclei of a grid. Each is moved by up to a quarter of it, so that some touch."""


@dataclass(frozen=True)
class Args:
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The JSON file to write."""
    size: int = 20000
    """Image size in pixels per axis."""
    memory: str = "3GiB"
    """Memory limit of the process."""
    limit: bool = True
    """Also limit the address space, to the memory limit and 1 GiB for mapped files and libraries."""


def nuclei(low: tuple[int, ...], high: tuple[int, ...]) -> np.ndarray:
    """A window of the probabilities, 0..255. Each nucleus depends only on its position in the grid."""
    result = np.zeros((high[0] - low[0], high[1] - low[1]), np.uint8)
    reach = PITCH  # maximum distance of a nucleus's edge from its grid position
    for row in range((low[0] - reach) // PITCH, (high[0] + reach) // PITCH + 1):
        for column in range((low[1] - reach) // PITCH, (high[1] + reach) // PITCH + 1):
            if row < 0 or column < 0:
                continue
            rng = np.random.default_rng((row, column))
            y, x = (np.array([row, column]) + 0.5 + rng.uniform(-0.25, 0.25, 2)) * PITCH
            radius, stretch, angle = rng.uniform(15, 26), rng.uniform(0.75, 1.0), rng.uniform(0, np.pi)
            top, left = max(int(y) - 34, low[0]), max(int(x) - 34, low[1])
            bottom, right = min(int(y) + 35, high[0]), min(int(x) + 35, high[1])
            if top >= bottom or left >= right:
                continue
            dy, dx = np.ogrid[top - y : bottom - y, left - x : right - x]
            u, v = dy * np.cos(angle) + dx * np.sin(angle), (dx * np.cos(angle) - dy * np.sin(angle)) / stretch
            p = 1 / (1 + np.exp(np.clip((np.hypot(u, v) - radius) / 1.5, -30, 30)))
            at = (slice(top - low[0], bottom - low[0]), slice(left - low[1], right - low[1]))
            result[at] = np.maximum(result[at], np.round(255 * p).astype(np.uint8))
    return result


def main(args: Args) -> int:
    memory, image = parse_bytes(args.memory), (args.size, args.size)
    if args.limit:
        resource.setrlimit(resource.RLIMIT_AS, (memory + 2**30, memory + 2**30))
    seconds: dict[str, float] = {}
    drawing = 0.0

    def read(low: tuple[int, ...], high: tuple[int, ...]) -> np.ndarray:
        nonlocal drawing
        began = time.perf_counter()
        window = nuclei(low, high)
        drawing += time.perf_counter() - began
        return window

    def done(number: int, count: int) -> None:
        if number % 10 == 0:
            notes.print(f"block {number + 1} of {count}, {time.perf_counter() - began:.0f} s", soft_wrap=True)

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        budget = (memory - resident()) // 2
        labels = label_image(read, image, 1, ObjectSettings(minimum_size=20), Path(folder), budget, done)
        seconds["labels, block by block"] = time.perf_counter() - began - drawing
        began = time.perf_counter()
        write_labels(Path(folder) / "labels.tif", [labels])
        seconds["label TIFF"] = time.perf_counter() - began
        began = time.perf_counter()
        spans = (labels.blocks.span(number) for number in range(len(labels.blocks)))
        write_table(Path(folder) / "table.csv", [measure_objects(labels, None, labels.count, spans)])
        seconds["table"] = time.perf_counter() - began
        sizes = {path.name: path.stat().st_size for path in Path(folder).iterdir() if path.is_file()}
    record = record_of(
        "objects.large",
        size=args.size,
        objects=labels.count,
        block=labels.blocks.side,
        blocks=len(labels.blocks),
        seconds=seconds,
        peak_bytes=peak_resident(),
        file_bytes=sizes,
    )
    write_record(args.out, record)
    notes.print(f"{labels.count:,} objects, {seconds}, {peak_resident() / 2**30:.2f} GiB", soft_wrap=True)
    return 0


if __name__ == "__main__":
    start("objects.large", Args, main, __doc__)
