"""Segment images of any size, including ones larger than memory.

Images are cut into tiles. For most networks the result is identical to that of the whole image (unet info says for
which). OUT is a file for one image, or a folder for several images; results have the names of their images.

Images: PNG, JPEG, TIFF, BigTIFF, OME-TIFF, NIfTI, .npy or .zarr, or folders of them. An OME-Zarr plate counts as a
folder. Zarr and TIFF images, and zarr results, may be URLs: s3://, gs://, https://.

If the network was trained on images of one pixel size (unet train --spacing), an image whose file states another one is
resampled to it, and the result back to the pixels of the image.

Results: TIFF (large ones tiled, with a pyramid), .zarr, .npy, PNG or NIfTI. A PNG of labels shows each class in a
colour. A TIFF keeps the image's georeference, pixel size and axes; a NIfTI keeps the affine, units and time axis of a
NIfTI; a .zarr keeps the axes, scale and translation of an OME-Zarr. A name such as out.ome.zarr writes an OME-Zarr;
image.zarr/labels/cells writes a label image into an OME-Zarr.

Labels are class numbers from 0. Probabilities of two classes are one channel, that of class 1; otherwise each class has
a channel. They are float32, or 0 to 255 in a PNG or with --dtype uint8.

If an image of several fails, it is reported, the others are still processed, and the exit code is 2. Finished tiles
are kept in OUT.part until the result is written; after an interruption, repeat the command to continue.

Several machines: --dask computes on a Dask cluster, --slurm writes a SLURM job array. By hand, run the command with
--shard 1/8 to --shard 8/8, then without --shard to join the parts.

--output objects writes the number of each pixel's object, such as a cell, and 0 for background (docs/objects.md).
--table also writes measurements of the objects; --outlines writes their outlines for QuPath, ImageJ or COCO.

A converted nnU-Net model takes NIfTI files, or folders of them, with nnU-Net's file names (case_0000.nii.gz). It
reproduces nnU-Net's normalisation, resampling, sliding window, mirroring and folds.

Example: unet predict runs/em/best slide.ome.tif -o labels.tif --memory 2GiB
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from unet_data.inference.output import OutputKind, OutputType
from unet_data.inference.predict_file import Progress, check_prediction, predict_file
from unet_data.inference.settings import PredictSettings
from unet_data.io.facts import FileFacts, summary
from unet_data.io.stores.remote import absolute, shown
from unet_data.io.writers import check_no_inputs
from unet_data.nnunet import find_plans
from unet_spec import InputError
from unet_spec.files import parse_bytes

from ..arguments.networks import named_network
from ..arguments.reading import ReadFlags, assumed_reading, chosen_reading
from ..arguments.runtimes import RuntimeName, installed, is_checkpoint, open_network
from ..arguments.sizes import Size
from ..console import notes, print_json
from ..prediction.cluster import Outcome, Task, cluster, on_cluster, sharded
from ..prediction.many import SharedRuntime, images_at_a_time, refuse, run_each
from ..prediction.nnunet_folder import predict_cases
from ..prediction.objects import describe, files_of, left_to_do, settings_of
from ..prediction.overlay import overlay_path, write_overlay
from ..prediction.records import image_record, line_of, line_of_all
from ..prediction.runtimes.choice import Choice
from ..prediction.runtimes.command import chosen_network, predict_as_begun
from ..prediction.slurm import command_line, parse_shard, write_jobs
from ..prediction.targets import targets
from ..progress import ImagesProgress, OneOfProgress, PixelProgress


@dataclass(frozen=True)
class Args:
    checkpoint: tyro.conf.Positional[Path]
    """A checkpoint or a bundle, or the name of an installed network, such as nuclei (pip install unet-weights)."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Images to segment: PNG, JPEG, TIFF, NIfTI, .npy or .zarr files, folders of them, OME-Zarr plates, or URLs of
    .zarr or TIFF."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The file or folder to write."""
    runtime: Literal[RuntimeName, "auto"] | None = None
    """Runtime that computes the network. Default: the first installed of onnx, torch and jax; tensorrt for a bundle
    with an engine for this GPU; torch for an nnU-Net model, since its labels equal nnU-Net's. auto: the fastest whose
    logits differ by at most 1e-5 of the largest, by a measured second of each or from the cache. mnn-fast has errors up
    to 2e-3 of the largest logit."""
    output: OutputKind = "labels"
    """What to write."""
    dtype: OutputType = "float32"
    """Number type of probabilities and logits. uint8 scales probabilities to 0 to 255."""
    memory: str | None = None
    """Memory limit of the process, such as 2GiB. The tile size with the least work within it is chosen."""
    tile: Size = None
    """Size of the input tiles in pixels, one number for all axes or one per axis, as in 20x128x128. Default: chosen by
    the memory limit, for each axis."""
    halo: int | None = None
    """Output pixels discarded at inner tile edges. Default: as many as an exact result needs. Fewer are faster, but the
    result is approximate."""
    strips: bool = False
    """Process the image row by row instead of in tiles (torch and jax only). No pixel is computed twice, and memory
    grows with the width of the image only."""
    augment: Literal["flips", "turns", "flips+turns", "rotations"] | None = None
    """Test-time augmentation: average the probabilities over flipped or turned copies of the image. "rotations" are the
    paper's 7, and need the whole image in memory."""
    mirror: bool = True
    """For nnU-Net models: average over mirrored copies, as nnU-Net does. --no-mirror is 4 to 8 times as fast."""
    blend: bool = False
    """Average overlapping tiles, for networks whose tiles are approximate. Needs the whole image in memory."""
    samples: int = 0
    """Number of segmentations to sample for each image from a network with a latent variable (probabilistic-unet),
    written as pages of the result. 0: one segmentation, from the mean of the latent distribution."""
    seed: int = 0
    """Random seed of --samples."""
    overlay: bool = False
    """Also write OUT-overlay.png, the image with outlines of its classes: of several images in a file the first, of a
    volume the middle plane. Only with --output labels."""
    shard: str | None = None
    """Compute only part i of n, written as i/n. With n images or more, the images are divided; with fewer, the tiles of
    each image."""
    dask: str | None = None
    """Compute on a Dask cluster: local:3 starts three worker processes on this machine, tcp://host:8786 connects to a
    running cluster."""
    slurm: Path | None = None
    """Write a SLURM job-array script to this file instead of computing."""
    jobs: int = 8
    """Number of jobs in the SLURM job array."""
    table: Path | None = None
    """With --output objects: also write a table with a row for each object, as .csv or .parquet. Each of several images
    has its own file, named after the image."""
    outlines: Path | None = None
    """With --output objects: also write the objects' outlines, as .geojson (QuPath), .zip (ImageJ ROIs) or .json
    (COCO). Each of several images has its own file, named after the image."""
    object_settings: tuple[str, ...] = ()
    """Settings of the object separation, such as neck=0.8 minimum_size=30. Settings that you leave out are those stored
    with the network."""
    reading: Annotated[ReadFlags, tyro.conf.arg(name="")] = field(default_factory=ReadFlags)
    overwrite: bool = False
    """Replace results that exist."""
    skip_existing: bool = False
    """Skip images whose results exist."""
    json: bool = False
    """Print the result as JSON."""


def run(args: Args) -> int:
    if not args.images:
        raise InputError("no image given; unet predict CHECKPOINT IMAGE... -o OUT")
    args = replace(args, checkpoint=named_network(args.checkpoint))
    if args.skip_existing and args.overwrite:
        raise InputError("--skip-existing keeps existing results, --overwrite replaces them: leave out one")
    if (plans := find_plans(args.checkpoint)) is not None:
        return predict_cases(args, plans)
    if args.overlay and args.output != "labels":
        raise InputError("--overlay needs --output labels")
    if args.dask is not None and args.shard is not None:
        raise InputError("--dask divides the work itself: leave out --shard")
    settings = _settings(args)
    planned = list(targets(args.images, args.out).items())
    if args.slurm is not None:
        return _write_slurm(args, len(planned))
    own = files_of(settings, [t for _, t in planned])
    if settings.shard is not None and len(planned) >= settings.shard[1] > 1:  # whole images, which need no joining
        part, parts = settings.shard
        planned, settings = planned[part - 1 :: parts], replace(settings, shard=None)
    files = left_to_do(planned, own) if args.skip_existing else planned
    if (skipped := len(planned) - len(files)) and not args.json:
        notes.print(f"{skipped} of {len(planned)} images skipped, since their results exist")
    by_strips = "torch" if installed("torch") else "jax"
    runtime = by_strips if args.strips and args.runtime is None else args.runtime
    if runtime == "auto":
        if args.strips:
            raise InputError("--strips runs in torch or jax only: leave out --runtime auto")
        runtime = None if is_checkpoint(args.checkpoint) else "onnx"
    network = open_network(args.checkpoint, runtime)
    if network.name == "mnn-fast":
        from unet_export.runtimes.mnn_runtime import DEVIATION

        notes.print(
            f"mnn-fast has larger errors than the other runtimes: up to {DEVIATION:g} of the largest "
            "logit; use mnn to avoid them",
            style="yellow",
        )
    reading, read = chosen_reading(args.reading, network.data)
    settings = replace(settings_of(network, settings, args.object_settings), reading=reading)
    own = {t: replace(settings, table=own[t].table, outlines=own[t].outlines) for _, t in files}
    for line in () if args.json else read:
        notes.print(line)
    for source, target in files:
        check_prediction(network, source, target, own[target])
    if args.overlay:
        if network.data.overlapping:
            raise InputError("--overlay needs one class per pixel; the classes of this network may overlap")
        _check_overlays([overlay_path(t) for _, t in files], [s for s, _ in files], args.overwrite)

    choice: Choice | None = None
    if args.runtime == "auto":
        network, choice = chosen_network(args.checkpoint, network, files, settings)
        for line in () if args.json else filter(None, (choice.describe(), choice.remark())):
            notes.print(line)

    count = network.data.class_count(network.config)
    names = network.data.class_names or tuple(f"class {index}" for index in range(count))

    together = (
        1 if args.dask or args.overlay else images_at_a_time([s for s, _ in files], settings.memory, network.name)
    )
    if together > 1:
        network = replace(network, runtime=SharedRuntime(network.runtime))
    facts: dict[Path, FileFacts] = {}
    outcomes = {} if args.dask is None else _on_cluster(args, files, own, choice)

    def one(source: Path, target: Path, progress: Progress) -> dict[str, Any]:
        if source in outcomes:
            done = outcomes[source].result(progress)
        elif choice is not None:
            done = predict_as_begun(network, args.checkpoint, source, target, own[target], progress)
        else:
            done = predict_file(network, source, target, own[target], progress)
        facts[source] = done.facts
        if args.overlay and done.finished:
            write_overlay(source, target, overlay_path(target), network.config.spatial_dims, reading)
        return image_record(source, target, done, names)

    def print_objects(record: dict[str, Any], where: str = "") -> None:
        if "objects" in record:
            for line in describe(record, network.data.objects is not None, bool(args.object_settings)):
                notes.print(where + line)

    def alone(source: Path, target: Path) -> dict[str, Any]:
        with PixelProgress(target.name, args.json) as progress:
            record = one(source, target, progress)
        if not args.json:
            notes.print(line_of(record, network.name, args.shard))
            print_objects(record)
        return record

    start = time.perf_counter()
    if len(files) == 1:
        records = run_each("image", {shown(s): ([s], partial(alone, s, t)) for s, t in files})
    else:
        with ImagesProgress(len(files), args.json) as bar:
            progress = [OneOfProgress(bar, number) for number in range(len(files))]
            work = {shown(s): ([s], partial(one, s, t, p)) for (s, t), p in zip(files, progress, strict=True)}
            records = run_each("image", work, together)
        if records and not args.json:
            taken = sum(record.get("seconds", 0.0) for record in records)
            taken = taken if together == 1 else time.perf_counter() - start
            notes.print(line_of_all(records, args.out, network.name, taken, args.shard))
            for record in records:
                print_objects(record, f"{record['image']}: ")
    read_as = [facts[source] for source, _ in files if source in facts]
    decisions = summary(read_as, "image")
    if args.json:
        found = {"runtime": network.name, "output": args.output, "images": records, "decisions": decisions}
        chosen = {} if choice is None else {"choice": choice.to_dict()}
        work = {"seconds": time.perf_counter() - start, "images_at_a_time": together}
        print_json(found | work | {"reading": asdict(reading)} | chosen)
    assumed = assumed_reading(args.reading, network.data, read_as, str(args.checkpoint))
    for line in () if args.json else [*decisions, *assumed]:
        notes.print(line)
    refuse("image", records)
    return 0


def _on_cluster(
    args: Args, files: Sequence[tuple[Path, Path]], own: Mapping[Path, PredictSettings], choice: Choice | None
) -> Mapping[Path, Outcome]:
    """Computes the images on a cluster. Returns the outcome of each of several images; for a single image, computes its
    tiles, which the caller joins."""
    runtime = None if args.runtime == "auto" else args.runtime
    if choice is not None:  # chosen on this machine, for all workers
        runtime = choice.name
    elif runtime is None and args.strips:
        runtime = "torch" if installed("torch") else "jax"
    tasks = [Task(absolute(args.checkpoint), runtime, absolute(s), absolute(t), own[t]) for s, t in files]
    with cluster(str(args.dask)) as client:
        if not args.json:
            notes.print(f"Dask: {client.dashboard_link}", style="dim")
        alone = len(tasks) == 1
        if alone:
            tasks = sharded(tasks[0], len(client.scheduler_info()["workers"]))
        else:  # a lost worker may already have written its result
            tasks = [replace(task, settings=replace(task.settings, overwrite=True)) for task in tasks]
        with ImagesProgress(len(tasks), args.json) as bar:
            found = on_cluster(client, tasks, bar.report)
    if not alone:
        return {source: outcome for (source, _), outcome in zip(files, found, strict=True)}
    if tasks[0].settings.shard is None:
        return {files[0][0]: found[0]}
    if errors := [outcome.error for outcome in found if outcome.error]:
        raise InputError(f"{errors[0]}; {len(errors)} of {len(found)} shards failed; repeat the command to continue")
    return {}


def _write_slurm(args: Args, images: int) -> int:
    if args.slurm is None or args.shard or args.dask:
        raise InputError("give only one of --slurm, --shard and --dask; --slurm divides the work itself")
    whole = images >= args.jobs > 1
    again = replace(args, skip_existing=args.skip_existing or (whole and not args.overwrite))
    for line in write_jobs(args.slurm, command_line(again, "predict", ("slurm", "jobs")), args.jobs, not whole):
        print(line)
    return 0


def _check_overlays(paths: Sequence[Path], sources: Sequence[Path], overwrite: bool) -> None:
    """Raises InputError if an overlay would replace an input image, or an existing file without `overwrite`."""
    check_no_inputs(paths, sources)
    if not overwrite and (existing := next((path for path in paths if path.exists()), None)):
        raise InputError(f"{existing} exists; --overwrite replaces it")


def _settings(args: Args) -> PredictSettings:
    if args.object_settings and args.output != "objects":
        raise InputError("--object-settings needs --output objects")
    return PredictSettings(
        output=args.output,
        dtype=args.dtype,
        memory=None if args.memory is None else parse_bytes(args.memory),
        tile=args.tile,
        halo=args.halo,
        strips=args.strips,
        augment=args.augment,
        blend=args.blend,
        shard=None if args.shard is None else parse_shard(args.shard),
        samples=args.samples,
        seed=args.seed,
        overwrite=args.overwrite,
        table=args.table,
        outlines=args.outlines,
    )
