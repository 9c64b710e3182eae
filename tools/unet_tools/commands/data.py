"""Check a data set before training on it, or convert annotations to one.

check finds common mistakes: masks with 255 beside masks with 1, unequal sizes, unpaired files, empty images, classes
without a pixel, images that occur twice or in both training and validation. The exit code is 1 if it finds a mistake,
and 2 if the files are not a data set; the first such file is named.

check also counts the files of the folder: paired, used, or left out and why. Each decision made while reading files is
printed once, with the option that changes it. Data larger than memory are read in parts.

convert turns COCO annotations into a folder of images and masks (--out).

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
from ..arguments.sizes import Size
from ..console import console, print_json, print_table
from ..conversion.coco import convert_coco


@dataclass(frozen=True)
class Args:
    action: tyro.conf.Positional[Literal["check", "convert"]]
    """check: find mistakes. convert: write images and masks from COCO annotations."""
    data: tyro.conf.Positional[str]
    """For check, labelled images as in unet train; for convert, the JSON file with the annotations."""
    out: Path | None = None
    """For convert: the folder to write."""
    images: Path | None = None
    """For convert: the folder with the images. Default: the folder of the JSON file."""
    spatial_dims: Literal[2, 3] = 2
    """Axes of an image: 3 reads each file as one volume."""
    tile: Size = None
    """Size of the training tile in pixels, one number or one per axis, as in 20x128x128. Smaller images are reported.
    0: none are."""
    ignore: int | None = None
    """Number in the mask files, often 255, of pixels to ignore."""
    labels: LabelKind = "auto"
    """Meaning of the numbers in the mask files: classes (semantic), objects (instance), or one mask per class
    (overlapping), where a pixel may have several classes. auto: decided from the masks."""
    validate: str = "auto"
    """Images for validation, as in unet train."""
    group: str | None = None
    """Regular expression for the part of a name that images of one group share, as in unet train."""
    class_numbers: str = ""
    """Numbers of the classes in the mask files, background first, such as 1-3, if they are not 0, 1, …"""
    reading: Annotated[ReadSettings, tyro.conf.arg(name="")] = field(default_factory=ReadSettings)
    verbose: bool = False
    """List every file that is left out."""
    json: bool = False
    """Print the result as JSON."""


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
        "labels are object numbers"
        if instances
        else f"masks: {', '.join(done.classes)}"
        if masks
        else f"classes: {numbers}"
    )
    console.print(f"{args.out}: {done.images} images, {done.objects} objects; {what}", soft_wrap=True)
    if done.crowds:
        use = "left out, as they are not objects" if instances else "pixels of their classes"
        console.print(f"regions of several objects (iscrowd): {done.crowds}, {use}")
    if done.overlaps and masks:
        console.print(f"{done.overlaps} pixels have several classes: train with --labels overlapping to keep them")
    elif done.overlaps:
        option = "" if instances else "; --labels overlapping keeps all annotations"
        console.print(f"{done.overlaps} pixels lie in several annotations and are given to the last one{option}")
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
        result = {
            "images": len(dataset),
            "channels": dataset.channels,
            "sizes": sizes,
            "classes": shares,
            "ignored": ignored,
            **accounted(dataset),
        }
        print_json(result | {"ok": not failed, "problems": [asdict(p) for p in problems]})
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
