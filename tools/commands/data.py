"""Look at a data set before training on it.

check finds the usual mistakes: masks of 255 among masks of 1, unequal sizes, unpaired files, empty images, classes
without a pixel, pictures that occur twice or in training and validation alike. Exit code 1 where something is wrong.

Example: unet data check data/isbi2012
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import tyro

from unet_data.check import check_dataset
from unet_tools.console import console, print_json, print_table
from unet_tools.data import open_data


@dataclass(frozen=True)
class Args:
    action: tyro.conf.Positional[Literal["check"]]
    """What to do."""
    data: tyro.conf.Positional[str]
    """Labelled images, as for unet train."""
    spatial_dims: Literal[2, 3] = 2
    """3: each file is one volume."""
    tile: int = 0
    """Pixels per axis of a training tile, to be told of images that are smaller."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> int:
    dataset = open_data(args.data, args.spatial_dims)
    problems = check_dataset(dataset, args.tile)
    failed = any(p.level == "error" for p in problems)
    labels = dataset.labels or ()
    counts = np.sum([np.bincount(label.ravel(), minlength=dataset.class_count) for label in labels], axis=0)
    shares = {n: float(c / counts.sum()) for n, c in zip(dataset.class_names, np.atleast_1d(counts), strict=False)}
    sizes = sorted({"x".join(map(str, image.shape[:-1])) for image in dataset.images})
    if args.json:
        found = {"images": len(dataset), "channels": dataset.channels, "sizes": sizes, "classes": shares}
        print_json(found | {"ok": not failed, "problems": [asdict(p) for p in problems]})
        return int(failed)
    dtype = dataset.images[0].dtype
    told = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    console.print(
        f"{dataset.source}: {len(dataset)} images, {', '.join(sizes[:3])}, {dataset.channels} channel(s) of {dtype}"
    )
    console.print(f"classes by share of the pixels: {told or 'no labels'}")
    if problems:
        print_table(None, ("", "where", "what"), [(p.level, p.where, p.what) for p in problems])
    console.print("[red]not fit for training[/red]" if failed else "[green]fit for training[/green]")
    return int(failed)
