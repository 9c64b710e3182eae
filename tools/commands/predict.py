"""Segment images of any size, also such as no memory holds: tiles are exact, see unet info and unet plan.

OUT is a file for one image, a folder for several (it receives files of the images' names). Images are PNG, TIFF,
BigTIFF, OME-TIFF, .npy or .zarr; results are TIFF (large ones tiled, with a pyramid), .zarr, .npy or PNG.
Labels are class numbers, 0 to K - 1. Probabilities are those of class 1 where there are two, else one channel a class;
float32, or 0 to 255 in a PNG or with --dtype uint8.

Of several images, one that cannot be segmented is told and does not keep the others from it; exit code 2 at the end.
Finished tiles are kept in OUT.part until the result is written. After a kill, the same command goes on from there.
Job arrays: unet predict ... --shard 1/8 to 8/8, then the same command without --shard joins the parts.

A converted nnU-Net model takes NIfTI files, or folders of them, named as nnU-Net names them (case_0000.nii.gz), and
writes what nnU-Net would: its normalisation, resampling, sliding window, mirroring and folds.

Example: unet predict runs/em/best slide.ome.tif -o labels.tif --memory 2GiB
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from unet_data.nnunet import Recipe
from unet_data.predict import Output, OutputKind, OutputType
from unet_data.readers import is_zarr
from unet_spec import InputError
from unet_tools.console import notes, print_json
from unet_tools.many import do_all, refuse
from unet_tools.memory import parse_bytes
from unet_tools.nnunet_folder import find_recipe, predict_cases
from unet_tools.prediction import Done, Job, check_job, run_job
from unet_tools.runtimes import RuntimeName, installed, open_network


@dataclass(frozen=True)
class Args:
    checkpoint: tyro.conf.Positional[Path]
    """A checkpoint or a bundle."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """PNG, TIFF, .npy or .zarr."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The file or folder to write."""
    runtime: RuntimeName | None = None
    """What runs it. Default: onnx, torch or jax, whichever is installed; tensorrt for a bundle where a GPU fits. On a
    CPU mnn is faster; mnn-fast more so, and up to 2e-3 of the largest logit off. Of a model of nnU-Net the default is
    torch, which gives nnU-Net's very labels."""
    output: OutputKind = "labels"
    """What to write."""
    dtype: OutputType = "float32"
    """Of probabilities (uint8: 0 to 255) and logits."""
    memory: str | None = None
    """The most memory that the process may have, such as 2GiB; the tiles that cost the least work in it are planned."""
    tile: int | None = None
    """Input pixels per axis to compute at once, instead of a plan by memory."""
    halo: int | None = None
    """Outputs to drop at inner edges of tiles. Default: as many as exactness takes; fewer are faster, approximate."""
    strips: bool = False
    """Strip by strip instead of tiles (torch, jax): nothing is computed twice, memory grows with the width only."""
    augment: Literal["flips", "turns", "flips+turns", "rotations"] | None = None
    """Average over views of the image; rotations are the paper's 7, of the whole image in memory."""
    mirror: bool = True
    """Of nnU-Net's models: average over mirrored views, as nnU-Net does. --no-mirror is 4 to 8 times as fast."""
    blend: bool = False
    """Average overlapping tiles, where a network's tiles only approximate; needs the whole image in memory."""
    samples: int = 0
    """Hypotheses to draw of each image, in a network with a latent variable (probabilistic-unet): pages of the result.
    0: the one of the latent distribution's mean."""
    seed: int = 0
    """Of the samples."""
    shard: str | None = None
    """i/n: compute the i-th of n parts only."""
    overwrite: bool = False
    """Replace results that exist."""
    skip_existing: bool = False
    """Leave out images whose results exist."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> int:
    if args.samples < 0 or args.seed < 0:
        raise InputError(f"--samples is {args.samples} and --seed {args.seed}; neither may be negative")
    if not args.images:
        raise InputError("no image given; unet predict CHECKPOINT IMAGE... -o OUT")
    if args.skip_existing and args.overwrite:
        raise InputError("--skip-existing keeps the results that exist, --overwrite replaces them: leave out one")
    if (recipe := find_recipe(args.checkpoint)) is not None:
        return _predict_nnunet(args, recipe)
    targets = _targets(args)
    part, memory = _part(args.shard), None if args.memory is None else parse_bytes(args.memory)
    if args.strips and args.runtime is None:
        runtime: RuntimeName | None = "torch" if installed("torch") else "jax"
    else:
        runtime = args.runtime
    network = open_network(args.checkpoint, runtime)
    if network.name == "mnn-fast":
        from unet_export.mnn_runtime import DEVIATION

        notes.print(
            f"mnn-fast rounds more than the other runtimes: up to {DEVIATION:g} of the largest logit; mnn does not",
            style="yellow",
            soft_wrap=True,
        )
    jobs = []
    for source, target in zip(args.images, targets, strict=True):
        if args.skip_existing and target.exists():
            continue
        png = target.suffix.lower() == ".png" and args.output == "probabilities"
        output = Output(args.output, "uint8" if png else args.dtype)
        job = Job(
            source=source,
            target=target,
            weights=args.checkpoint,
            output=output,
            memory=memory,
            tile=args.tile,
            halo=args.halo,
            strips=args.strips,
            augment=args.augment,
            blend=args.blend,
            part=part,
            samples=args.samples,
            seed=args.seed,
            overwrite=args.overwrite,
            quiet=args.json,
        )
        check_job(job, network)
        jobs.append(job)

    def one(job: Job) -> dict[str, Any]:
        done = run_job(job, network)
        if not args.json:
            notes.print(_told(job, done, network.name), soft_wrap=True)
        return _record(job, done)

    records = do_all("image", {str(job.source): ([job.source], partial(one, job)) for job in jobs})
    if args.json:
        print_json({"runtime": network.name, "output": args.output, "images": records})
    refuse("image", records)
    return 0


def _predict_nnunet(args: Args, recipe: Recipe) -> int:
    tiles = (args.memory, args.tile, args.halo, args.augment, args.shard)
    if any(value is not None for value in tiles) or args.strips or args.blend:
        raise InputError(
            "a model of nnU-Net has its own tiles and views: give no other flags for them than --no-mirror"
        )
    if args.output == "logits" or args.dtype != "float32":
        raise InputError("a model of nnU-Net gives labels or probabilities in float32")
    done = predict_cases(
        args.checkpoint,
        recipe,
        args.images,
        args.out,
        args.runtime,
        args.output,
        args.mirror,
        args.overwrite,
        args.skip_existing,
    )
    if args.json:
        print_json({"output": args.output, "images": done})
    for case in () if args.json else done:
        if "error" not in case:
            shape = "x".join(map(str, case["shape"]))
            notes.print(f"{case['case']} → {case['out']} ({shape}, {case['runtime']}, {case['seconds']:.1f} s)")
    refuse("case", done)
    return 0


def _told(job: Job, done: Done, runtime: str) -> str:
    rate = f"{done.seconds:.1f} s, {done.pixels / 1e6 / max(done.seconds, 1e-9):.2f} megapixels a second"
    shape = "x".join(map(str, done.shape))
    if done.finished:
        return f"{job.source} → {job.target} ({shape}, {runtime}, {rate})"
    assert job.part is not None
    i, n = job.part
    return (
        f"{job.source}: part {i} of {n}, {done.computed} of {done.tiles} tiles computed ({runtime}, {rate}); "
        "when all parts are done, the same command without --shard joins them"
    )


def _record(job: Job, done: Done) -> dict:
    return {
        "image": str(job.source),
        "out": str(job.target),
        "shape": list(done.shape),
        "seconds": done.seconds,
        "megapixels_per_second": done.pixels / 1e6 / max(done.seconds, 1e-9),
        "tiles": done.tiles,
        "computed": done.computed,
        "tile": list(done.plan.tiles.tile),
        "exact": done.plan.tiles.exact,
        "redundancy": done.plan.redundancy,
        "predicted_bytes": done.plan.memory,
        "measured_bytes": done.peak - done.before,
        "resident_bytes": done.peak,
        "finished": done.finished,
    }


def _part(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"--shard {text} does not exist; give i/n with i from 1 to n")
    return int(found[1]), int(found[2])


def _targets(args: Args) -> list[Path]:
    """Where each result goes, decided before anything is computed."""
    if folder := next((path for path in args.images if path.is_dir() and not is_zarr(path)), None):
        raise InputError(f"{folder} is a folder; name the images in it, such as {folder}/*.png")
    if len(args.images) == 1 and args.out.suffix and (not args.out.is_dir() or args.out.suffix == ".zarr"):
        return [args.out]
    if args.out.is_file():
        raise InputError(f"{args.out} is a file; {len(args.images)} images need a folder")
    targets = [
        args.out / f"{p.stem}{'.png' if p.suffix.lower() in ('.jpg', '.jpeg') else p.suffix}" for p in args.images
    ]
    if len(set(targets)) != len(targets):
        raise InputError(f"two of the images would be written to the same file in {args.out}; rename one")
    for source, target in zip(args.images, targets, strict=True):
        if source.resolve() == target.resolve():
            raise InputError(f"{target} is the image itself; choose another folder for the results")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise InputError(f"{args.out}: cannot be made: {e.strerror}") from None
    return targets
