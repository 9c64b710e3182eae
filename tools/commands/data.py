"""Look at a data set before training on it.

check finds the usual mistakes: masks of 255 among masks of 1, unequal sizes, unpaired files, empty images, classes
without a pixel, pictures that occur twice or in training and validation alike. Exit code 1 where something is wrong,
2 where the files cannot be taken for a data set; the first of them is named then.
What unet train --loader grain reads by windows (.npy, .zarr, files too large for memory) is gone through band by band.

Example: unet data check data/isbi2012
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import tyro

from unet_data import Dataset
from unet_data.check import check_dataset, label_counts
from unet_data.labels import LabelKind
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
    ignore: int | None = None
    """The label number, as the mask files hold it (255, in many), of pixels that are not to count."""
    labels: LabelKind = "auto"
    """What the other numbers are: of classes (semantic) or of objects (instance). auto: decided by what is found."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> int:
    dataset = open_data(args.data, args.spatial_dims, stored=None, ignore=args.ignore, kind=args.labels)
    problems = check_dataset(dataset, args.tile)
    failed = any(p.level == "error" for p in problems)
    shares, ignored = _shares(dataset)
    sizes = sorted({"x".join(map(str, image.shape[:-1])) for image in dataset.images})
    if args.json:
        found = {
            "images": len(dataset),
            "channels": dataset.channels,
            "sizes": sizes,
            "classes": shares,
            "ignored": ignored,
        }
        print_json(found | {"ok": not failed, "problems": [asdict(p) for p in problems]})
        return int(failed)
    dtype = dataset.images[0].dtype
    told = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    console.print(
        f"{dataset.source}: {len(dataset)} images, {', '.join(sizes[:3])}, {dataset.channels} channel(s) of {dtype}"
    )
    told += f"; {ignored:.1%} of all pixels are ignored" if dataset.ignore is not None else ""
    console.print(f"classes by share of the pixels: {told or 'no labels'}")
    if problems:
        print_table(None, ("", "where", "what"), [(p.level, p.where, p.what) for p in problems])
    how = " with --loader grain" if dataset.stored else ""
    console.print(f"{'not ' * failed}fit for training{how}", style="red" if failed else "green")
    return int(failed)


def _shares(dataset: Dataset) -> tuple[dict[str, float], float]:
    """Of the pixels that count, each class's share; and of all pixels, that of the ignored ones."""
    if dataset.labels is None:
        return {}, 0.0
    counts = label_counts(dataset).sum(0)
    shares = {name: float(count / counts.sum()) for name, count in zip(dataset.class_names, counts, strict=True)}
    return shares, float(1 - counts.sum() / sum(label.size for label in dataset.labels))
