"""Measure a checkpoint or a bundle on labelled images.

Over all pixels: pixel error, mean IoU, mean Dice. Of two classes, where class 1 is the inside of objects: V_Rand and
V_Info after border thinning (ISBI 2012; the mean over the images at the best threshold), the adapted
Rand error without thinning, and the warping error. With --augment, all of these of the mean probabilities of flipped
or turned views of each image (the paper's EM scores are of such a mean, over rotations). With --samples, in a network
with a latent variable (probabilistic-unet): the generalised energy distance of so many hypotheses from the label, in 0
to 2, and their own mean distance from each other, which is part of it; see unet_data.energy for several labels of one
image.

Example: unet evaluate runs/em/best data/isbi2012 --subset validation
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro

from unet_data import Dataset
from unet_data.evaluate import commonest_class_accuracy, measure, measure_samples
from unet_data.labels import LabelKind
from unet_data.prepare import looks_foreign
from unet_data.test_time import Symmetry, augmented
from unet_spec import InputError
from unet_tools.console import notes, print_json, print_table
from unet_tools.data import Subset, choose, open_data
from unet_tools.runtimes import RuntimeName, open_network


@dataclass(frozen=True)
class Args:
    checkpoint: tyro.conf.Positional[Path]
    """A checkpoint or a bundle."""
    data: tyro.conf.Positional[str]
    """Labelled images, as for unet train."""
    subset: Subset = "all"
    """validation is the block that unet train holds back; train is the rest."""
    augment: Symmetry | None = None
    """Test-time augmentation, as in unet predict."""
    ignore: int | None = None
    """The label number, as the mask files hold it (255, in many), of pixels that count in no score."""
    labels: LabelKind = "auto"
    """What the other numbers are: of classes (semantic) or of objects (instance). auto: decided by what is found."""
    samples: int = 0
    """Hypotheses to draw of each image, for the energy distance."""
    seed: int = 0
    """Of the samples, and of synthetic data (that of unet train)."""
    runtime: RuntimeName | None = None
    """What runs it. Default: onnx, torch or jax, whichever is installed."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> int:
    network = open_network(args.checkpoint, args.runtime)
    dataset = open_data(args.data, network.config.spatial_dims, args.seed, None, ignore=args.ignore, kind=args.labels)
    dataset = choose(dataset, args.subset)
    if args.samples and args.augment:
        raise InputError("--samples draws whole segmentations: leave out --augment")
    if odd := looks_foreign(dataset.images[0], network.data):
        notes.print(f"warning: {dataset.names[0]}: {odd}", soft_wrap=True)
    views = network.runtime.run if args.augment is None else augmented(network.runtime.run, args.augment)
    scores = measure(views, network.config, network.data, dataset, objects=True, warp=True)
    if args.samples:
        whole = _in_memory(dataset)
        scores |= measure_samples(network.runtime.run, network.config, network.data, whole, args.samples, args.seed)  # type: ignore[arg-type]
    baseline = commonest_class_accuracy(dataset)
    if args.json:
        found = {"data": dataset.source, "images": len(dataset), "runtime": network.name}
        print_json(found | scores | {"baseline_pixel_accuracy": baseline})
    else:
        lines = [(name, f"{value:.4f}") for name, value in scores.items()]
        lines.append(("pixel accuracy of the commonest class", f"{baseline:.4f}"))
        title = f"{len(dataset)} images of {dataset.source}, {network.name}"
        print_table(title, ("measure", "value"), lines, right="1")
    return 0


def _in_memory(dataset: Dataset) -> Dataset:
    """With images and labels read, where they stay in their files: the samples of all of them are in memory anyway."""
    images, labels = (arrays and tuple(map(np.asarray, arrays)) for arrays in (dataset.images, dataset.labels))
    return replace(dataset, images=images, labels=labels)
