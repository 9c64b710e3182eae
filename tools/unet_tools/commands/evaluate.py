"""Measure a checkpoint or a bundle on labelled images.

Always: pixel error, mean IoU and mean Dice over all pixels; the expected calibration error (ECE, 15 bins) and the
negative log likelihood (NLL) of the probabilities.

If the network expects another pixel size than a file states, the image is resampled, and its result back: scores are
those of the image's own pixels.

For two classes, where class 1 is the inside of objects: V_Rand and V_Info after border thinning, as in ISBI 2012 (mean
over the images at the best threshold); the adapted Rand error without thinning; the warping error.

With --surface: the 95th percentile of the Hausdorff distance, and the surface Dice.

With --augment: all measures of probabilities averaged over flipped or turned copies of each image. The paper's EM
scores average over rotations.

With --samples, for a network with a latent variable (probabilistic-unet): the generalised energy distance between
sampled segmentations and the label, from 0 to 2, and the samples' mean distance from each other, which is one term of
it. See unet_data.metrics.energy for images with several labels.

If the labels number objects: predicted objects are matched with true objects at an IoU of 0.5 (--json: 0.5 to 0.95).
AP, precision, recall, F1 and PQ; mean AP, also as in the 2018 Data Science Bowl; AJI; the number of true objects that
are split, and of predicted objects that merge several (docs/objects.md).

For a sequence in the layout of the Cell Tracking Challenge, unet evaluate 01_RES 01_GT prints SEG, DET and TRA. No
network is run.

Several machines: --dask computes on a Dask cluster, --slurm writes a SLURM job array. By hand, run the command with
--parts FOLDER --shard 1/8 to --shard 8/8, then without --shard for the scores. They are those of one machine.

Example: unet evaluate runs/em/best data/isbi2012 --subset validation
"""

from __future__ import annotations

import contextlib
import shlex
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from unet_data import (
    Calibration,
    Dataset,
    Measurement,
    OpenNetwork,
    SurfaceScores,
    challenge_scores,
    measure_in_detail,
    with_border,
)
from unet_data.datasets.border_class import BORDER_CLASSES
from unet_data.datasets.label_rule import LabelKind
from unet_data.inference.prepare import looks_foreign
from unet_data.inference.stitch import Run
from unet_data.inference.views import Symmetry, augmented
from unet_data.io.facts import ReadSettings
from unet_data.io.stores.signed import hidden
from unet_data.metrics.calibration import MAX_DECISIONS
from unet_data.metrics.evaluate import commonest_class_accuracy, measure_samples
from unet_data.metrics.surfaces import pixel_sizes
from unet_data.objects.challenge import is_result
from unet_data.spacing.grids import noted
from unet_spec import DataSpec, InputError, is_checkpoint
from unet_spec.families.ensemble import EnsembleConfig
from unet_spec.untrusted.strict_json import read_object

from ..arguments.data import Subset, account_for, accounted, choose, open_data
from ..arguments.networks import named_network
from ..arguments.reading import ReadFlags, assumed_reading, chosen_reading
from ..arguments.runtimes import RuntimeName, open_network
from ..console import notes, print_classes, print_json, print_table
from ..prediction.calibrated import calibrate, calibration_lines, check_calibration
from ..prediction.evaluation import Opened, Recorded, check_size, compute, on_dask, outputs, report, write_slurm
from ..prediction.object_scores import FoundObjects, object_lines, score_objects, sequence_lines, store_objects
from ..prediction.slurm import parse_shard


@dataclass(frozen=True)
class Args:
    checkpoint: tyro.conf.Positional[Path]
    """A checkpoint, a bundle or the name of an installed network; or a folder 01_RES with the labels of a sequence."""
    data: tyro.conf.Positional[str]
    """Labelled images, as for unet train; for 01_RES, the folder 01_GT."""
    subset: Subset = "all"
    """Images to measure on. validation: those that unet train holds out; train: the others."""
    validate: str | None = None
    """Which images validate, as in unet train. Default: as in the run of the checkpoint."""
    group: str | None = None
    """Regular expression for the part of a name that images of one group share, as in unet train."""
    augment: Symmetry | None = None
    """Test-time augmentation: average the probabilities over flipped or turned copies of each image."""
    ignore: int | None = None
    """Number in the mask files, often 255, of pixels that no score counts. Default: as in training."""
    labels: LabelKind | None = None
    """Meaning of the numbers in the mask files: classes (semantic), objects (instance), or one mask per class
    (overlapping), where a pixel may have several classes. auto: decided from the masks and the network. Default: as in
    training, else auto."""
    class_numbers: str | None = None
    """Numbers of the classes in the mask files, background first, as in unet train. Default: as in training."""
    reading: Annotated[ReadFlags, tyro.conf.arg(name="")] = field(default_factory=ReadFlags)
    calibrate: Path | None = None
    """Folder for a copy of the checkpoint with calibrated probabilities: logits are divided by the temperature that
    fits these images best. Use images that were not trained on, such as --subset validation."""
    choose_objects: bool = False
    """Choose the settings of the object separation on these images, and store them with the checkpoint. Use images that
    were not trained on, such as --subset validation."""
    report: Path | None = None
    """Folder for report.html: the scores and, if the labels number objects, outlines of objects that were found,
    missed, false, split or merged, on the worst, the median and the best image."""
    surface: float | None = None
    """Also measure surfaces: the 95th percentile of the Hausdorff distance, and the surface Dice at this tolerance. The
    unit is that of the files' pixel size, or pixels unless every file states its pixel size."""
    samples: int = 0
    """Number of segmentations to sample for each image, for the energy distance."""
    seed: int = 0
    """Random seed of --samples and of synthetic data. unet train with the same seed draws the same data."""
    runtime: RuntimeName | None = None
    """Runtime that computes the network. Default: the first installed of onnx, torch and jax."""
    shard: str | None = None
    """Only run the network on part i of n of the images, written as i/n, and keep its outputs in --parts."""
    dask: str | None = None
    """Run the network on a Dask cluster: local:3 starts three worker processes on this machine, tcp://host:8786
    connects to a running cluster."""
    slurm: Path | None = None
    """Write a SLURM job-array script to this file instead of computing."""
    jobs: int = 8
    """Number of jobs in the SLURM job array."""
    parts: Path | None = None
    """Folder for the outputs of --shard, --dask and --slurm, which all machines can write to: 4 bytes for each class of
    each pixel. They are deleted when the scores are printed. Default: a folder in the working directory with --dask,
    one beside the script with --slurm."""
    json: bool = False
    """Print the result as JSON."""


@dataclass(frozen=True)
class _Opened:
    """Network and data set; `part` has the images of --subset, divided as `how` says."""

    network: OpenNetwork
    reading: ReadSettings
    read: list[str]
    whole: Dataset
    part: Dataset
    how: str | None


def _open(args: Args) -> _Opened:
    network = open_network(args.checkpoint, args.runtime)
    dims = network.config.spatial_dims
    args, of_run = _labels_of_run(args, network.data)
    kind = "overlapping" if network.data.overlapping and args.labels == "auto" else args.labels or "auto"
    reading, read = chosen_reading(args.reading, network.data)
    whole = open_data(args.data, dims, args.seed, None, args.ignore, kind, reading, args.class_numbers or "")
    whole = whole.for_channels(network.config.in_channels)
    if whole.facts:
        shapes = [image.shape[:-1] for image in whole.images]
        facts = tuple(noted(*each, network.data) for each in zip(whole.facts, shapes, strict=True))
        whole = replace(whole, facts=facts)
    part, how = choose(whole, args.subset, *_split(args))
    if part.instances is not None and network.data.class_names == BORDER_CLASSES:
        part = with_border(part)
    return _Opened(network, reading, [*read, *of_run], whole, part, how)


def _computed(args: Args, found: _Opened, folder: Path | None) -> Opened:
    """The computation; outputs are stored in the folder, if given."""
    network, run = found.network, found.network.run
    if folder is not None:
        run = Recorded(run, f"{network.identity} {network.name}", folder)
    views = run
    if args.augment is not None:
        views = augmented(run, args.augment, network.data.overlapping, network.config.distance_head)
    return Opened(network, run, views, found.part)


def opened(args: Args) -> Opened:
    """Network and images, for a worker that records the network's outputs in --parts."""
    return _computed(args, _open(args), args.parts)


def _stored(args: Args) -> dict[str, Any]:
    """The settings of the checkpoint's run; empty if there is no readable run."""
    with contextlib.suppress(InputError, KeyError, TypeError):
        return {"validate": "last"} | read_object(args.checkpoint.parent / "run.json", finite=False)["settings"]
    return {}


def _labels_of_run(args: Args, data: DataSpec) -> tuple[Args, list[str]]:
    """The arguments with training's meaning of label numbers where none is given, and a line about it. It is stored
    with the network; for one of an earlier version, in its run."""
    stored, plain = data.labels or _stored(args), {"labels": "auto", "ignore": None, "class_numbers": ""}
    if data.labels and "ignore" in data.labels:
        stored = {**data.labels, "ignore": int(data.labels["ignore"])}
    used = {n: stored[n] for n in plain if getattr(args, n) is None and stored.get(n, plain[n]) != plain[n]}
    trained = stored.get("labels", "auto")
    if args.labels not in (None, "auto", "semantic" if trained == "auto" else trained):
        used.pop("class_numbers", None)  # they were for numbers of another meaning
    listed = ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in used.items())
    filled = {name: used.get(name, plain[name]) for name in plain if getattr(args, name) is None}
    return replace(args, **filled), [f"{listed}: as in training"] if used else []


def _split(args: Args) -> tuple[str, str | None]:
    """The split of the checkpoint's run, overridden by the flags."""
    stored = _stored(args)
    return args.validate or stored.get("validate", "auto"), args.group or stored.get("group")


def run(args: Args) -> int:
    if is_result(args.checkpoint):
        return _sequence(args)
    if args.report:
        from ..report.style import require_all

        require_all()
    given, args = args.checkpoint, replace(args, checkpoint=named_network(args.checkpoint))
    if args.choose_objects and args.checkpoint != given:
        raise InputError(
            f"--choose-objects changes the checkpoint, but {given} belongs to an installed package: copy it with unet "
            f"convert {given} FOLDER, and give FOLDER"
        )
    if args.slurm is not None:
        return write_slurm(args)
    found = _open(args)
    network, whole, dataset = found.network, found.whole, found.part
    facts = (*whole.facts, *whole.label_facts)
    assumed = assumed_reading(args.reading, network.data, facts, str(args.checkpoint))
    for line in () if args.json else [*found.read, *account_for(whole), *assumed, *([found.how] if found.how else [])]:
        notes.print(line)
    if args.subset == "validation" and isinstance(network.config, EnsembleConfig) and network.config.members > 1:
        notes.print(
            "warning: the members of an ensemble of folds were trained on each other's validation images; scores need "
            "images that no member was trained on"
        )
    if args.samples and args.augment:
        raise InputError("--samples and --augment cannot be combined: leave out one")
    if odd := looks_foreign(dataset.images[0], network.data):
        notes.print(f"warning: {dataset.names[0]}: {odd}")
    if args.calibrate:
        check_calibration(args.checkpoint, args.calibrate, args.subset, bool(args.augment or args.samples))
    if args.choose_objects and (dataset.instances is None or not is_checkpoint(args.checkpoint)):
        needed = (
            "labels that number objects" if dataset.instances is None else "a checkpoint; export its bundle afterwards"
        )
        raise InputError(f"--choose-objects needs {needed}")
    with outputs(args) as folder:
        computed = _computed(args, found, folder)
        if args.shard is not None:
            return _shard(args, computed)
        if args.dask is not None:
            on_dask(replace(args, parts=folder), list(dataset.names))
        code = _scores(args, found, computed)
        if isinstance(computed.run, Recorded):
            computed.run.remove()
    return code


def _shard(args: Args, computed: Opened) -> int:
    part, parts = parse_shard(str(args.shard))
    records = compute(computed, range(part - 1, len(computed.dataset), parts), args.samples, args.seed)
    report(records)
    if args.json:
        print_json({"shard": args.shard, "images": [record["image"] for record in records]})
    else:
        notes.print(
            f"part {part} of {parts}: {len(records)} of {len(computed.dataset)} images computed; when all parts are "
            "done, the same command without --shard prints the scores"
        )
    return 0


def _scores(args: Args, found: _Opened, computed: Opened) -> int:
    """Computes and prints the scores."""
    network, dataset, views = computed.network, computed.dataset, computed.views
    files = accounted(found.whole) | {"reading": asdict(found.reading)}
    counted = Calibration(network.data.overlapping, len(dataset), MAX_DECISIONS if args.calibrate else 0)
    surfaces, unit = None, {}
    if args.surface is not None:
        surfaces = SurfaceScores(network.data.names(network.config), args.surface)
        unit = {"surface_unit": pixel_sizes(dataset)[1]}
        if not args.json:
            notes.print(f"unit of the surface distances and of --surface {args.surface:g}: {unit['surface_unit']}")
    if not isinstance(computed.run, Recorded):  # whose outputs are there already
        for number in range(len(dataset)):
            check_size(computed, number)
    measured = measure_in_detail(views, network.config, network.data, dataset, True, True, counted, surfaces)
    scores = dict(measured.scores)
    if args.samples:
        scores |= measure_samples(computed.run, network.config, network.data, dataset, args.samples, args.seed)
    calibrated = calibrate(args.checkpoint, args.calibrate, counted, dataset) if args.calibrate else {}
    apart = dataset.instances is not None and not network.data.overlapping
    separated = _objects(args, network, views, dataset) if apart else None
    objects = separated.scores if separated else {}
    baseline = {} if dataset.overlapping else {"baseline_pixel_accuracy": commonest_class_accuracy(dataset)}
    if args.json:
        origin = {"data": dataset.source, "images": len(dataset), "runtime": network.name}
        print_json(origin | files | unit | scores | objects | baseline | calibrated | {"classes": measured.classes})
    else:
        lines = [(name, f"{value:.4f}") for name, value in scores.items()] + object_lines(objects)
        lines += [("pixel accuracy of the commonest class", f"{value:.4f}") for value in baseline.values()]
        title = f"{len(dataset)} images of {dataset.source}, {network.name}"
        print_table(title, ("measure", "value"), lines, right="1")
        print_classes(measured)
        for line in calibration_lines(args.calibrate, calibrated) if args.calibrate else ():
            notes.print(line)
    if args.report:
        page = _report(args, args.report, dataset, scores | baseline, measured, separated)
        notes.print(f"look at {page}")
    return 0


def _report(
    args: Args,
    folder: Path,
    dataset: Dataset,
    scores: dict[str, float],
    measured: Measurement,
    found: FoundObjects | None,
) -> Path:
    from ..report import Report, write_report
    from ..report.objects import object_pictures

    return write_report(
        Report(
            title=f"{args.checkpoint} on {dataset.source}",
            command=shlex.join(["unet", *map(hidden, sys.argv[1:])]),
            facts={},
            scores=scores,
            classes=measured.classes,
            objects=object_pictures(dataset, found.labels, found.scores) if found else None,
            class_names=dataset.class_names,
        ),
        folder,
    )


def _sequence(args: Args) -> int:
    """Prints SEG, DET and TRA of existing labels."""
    if args.report:
        raise InputError("--report needs a network and images; for a sequence of labels there are only scores")
    scores = challenge_scores(args.checkpoint, args.data)
    if args.json:
        print_json({"result": str(args.checkpoint), "truth": args.data} | scores)
    else:
        print_table(f"{args.checkpoint} against {args.data}", ("measure", "value"), sequence_lines(scores), right="1")
    return 0


def _objects(args: Args, network: OpenNetwork, run: Run, dataset: Dataset) -> FoundObjects:
    """The objects, separated by the stored or newly chosen settings."""
    found = score_objects(network, run, dataset, args.choose_objects)
    origin = "the defaults; --choose-objects tunes them" if network.data.objects is None else "stored with the network"
    if args.choose_objects:
        store_objects(args.checkpoint, found.settings)
        origin = (
            f"chosen on these {len(dataset)} images (mean AP {found.chosen_by:.4f}) and stored in {args.checkpoint}"
        )
    if found.chosen_by == 0:
        notes.print("warning: no settings find an object of these images, so those chosen mean nothing")
    if not args.json:
        notes.print(f"settings of the object separation: {found.settings.described()} ({origin})")
    return found
