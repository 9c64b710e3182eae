"""Check a data set before training on it, or convert annotations to one.

check finds the usual mistakes: masks of 255 among masks of 1, unequal sizes, unpaired files, empty images, classes
without a pixel, pictures that occur twice or in both training and validation. Exit code 1 if something is wrong, 2 if
the files are no data set; the first such file is named.
Every file of the folder is counted as paired, used or left out, with the reason; every decision made when files were
read is printed once, with the option that decides otherwise. Data too large for memory are read in bands.

convert writes a folder of images and masks (--out) from COCO annotations.

Example: unet data check data/isbi2012
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from unet_data import ReadSettings
from unet_data.datasets.check import check_dataset, class_shares
from unet_data.datasets.label_rule import LabelKind
from unet_spec import InputError

from ..arguments.data import account_for, accounted, open_data
from ..console import console, print_json, print_table
from ..conversion.coco import convert_coco


@dataclass(frozen=True)
class Args:
    action: tyro.conf.Positional[Literal["check", "convert"]]
    """What to do."""
    data: tyro.conf.Positional[str]
    """Labelled images, as of unet train; to convert, the JSON file of the annotations."""
    out: Path | None = None
    """The new folder of a conversion."""
    images: Path | None = None
    """The folder of the images to convert. Default: that of the JSON file."""
    spatial_dims: Literal[2, 3] = 2
    """3: each file is one volume."""
    tile: int = 0
    """Pixels per axis of a training tile; reports images that are smaller."""
    ignore: int | None = None
    """The label number, as in the mask files (often 255), of pixels that do not count."""
    labels: LabelKind = "auto"
    """Meaning of the other numbers: classes (semantic) or objects (instance); overlapping: masks of classes, of which a
    pixel may have several. auto: decided from the masks."""
    validate: str = "auto"
    """Images that validate, as of unet train."""
    group: str | None = None
    """Part of a name that says which images belong together, as of unet train."""
    class_numbers: str = ""
    """Numbers of the classes in the mask files, the background first, where they are not 0, 1, …: such as 1-3."""
    reading: Annotated[ReadSettings, tyro.conf.arg(name="")] = field(default_factory=ReadSettings)
    verbose: bool = False
    """Name every file that is left out."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> int:
    return _convert(args) if args.action == "convert" else _check(args)


def _convert(args: Args) -> int:
    if args.out is None:
        raise InputError("give the folder to write: unet data convert ANNOTATIONS.json --out FOLDER")
    source = Path(args.data)
    instances, masks = args.labels == "instance", args.labels == "overlapping"
    done = convert_coco(source, args.images or source.parent, args.out, instances, masks)
    if args.json:
        print_json(asdict(done) | {"out": str(args.out)})
        return 0
    numbers = ", ".join(f"{number} {name}" for number, name in enumerate(done.classes))
    what = (
        "objects are numbered" if instances else f"masks: {', '.join(done.classes)}" if masks else f"classes: {numbers}"
    )
    console.print(f"{args.out}: {done.images} images, {done.objects} objects; {what}", soft_wrap=True)
    if done.overlaps and masks:
        console.print(f"{done.overlaps} pixels have several classes: --labels overlapping reads them so")
    elif done.overlaps:
        option = "" if instances else "; --labels overlapping keeps all"
        console.print(f"{done.overlaps} pixels lie in several annotations: the later one has them{option}")
    return 0


def _check(args: Args) -> int:
    dataset = open_data(
        args.data,
        args.spatial_dims,
        stored=None,
        ignore=args.ignore,
        kind=args.labels,
        reading=args.reading,
        class_numbers=args.class_numbers,
    )
    problems = check_dataset(dataset, args.tile, args.validate, args.group)
    failed = any(p.level == "error" for p in problems)
    shares, ignored = class_shares(dataset)
    sizes = sorted({"x".join(map(str, image.shape[:-1])) for image in dataset.images})
    if args.json:
        found = {
            "images": len(dataset),
            "channels": dataset.channels,
            "sizes": sizes,
            "classes": shares,
            "ignored": ignored,
            **accounted(dataset),
        }
        print_json(found | {"ok": not failed, "problems": [asdict(p) for p in problems]})
        return int(failed)
    dtype = dataset.images[0].dtype
    classes = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    console.print(
        f"{dataset.source}: {len(dataset)} images, {', '.join(sizes[:3])}, {dataset.channels} channel(s) of {dtype}"
    )
    classes += f"; {ignored:.1%} of all pixels are ignored" if ignored else ""
    console.print(f"classes by share of the pixels: {classes or 'no labels'}")
    for line in account_for(dataset, args.verbose):
        console.print(line, soft_wrap=True)
    if problems:
        print_table(None, ("", "where", "what"), [(p.level, p.where, p.what) for p in problems])
    how = " with --loader grain" if dataset.stored else ""
    console.print(f"{'not ' * failed}fit for training{how}", style="red" if failed else "green")
    return int(failed)
