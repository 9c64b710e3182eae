"""Write a deployable folder: ONNX, TensorRT engines, a manifest, and a record of how far each is from the reference.

Engines are built by TensorRT-RTX where it is installed; that needs no GPU. Every narrow precision is judged before it
is written: layers that it would spoil stay in float32, and where that is not enough, there is no bundle.

Example: unet export runs/em/best -o bundle --precision fp16 int8 fp32 --calibrate data/isbi2012
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.progress import BarColumn, Progress, TextColumn

from unet_data import read_image
from unet_data.nnunet import Recipe
from unet_data.nnunet.recipe import FILE as NNUNET
from unet_export import EngineSettings, write_bundle
from unet_export.precision import Precision
from unet_export.tensorrt_profile import Profile, ProfileName
from unet_export.triton import FOLDER as TRITON
from unet_export.triton_nnunet import write_nnunet_repository
from unet_spec import Checkpoint, InputError
from unet_spec.tiling import tile_near
from unet_tools.checking import check_bundle
from unet_tools.commands.check import print_findings
from unet_tools.console import console, notes, print_json, print_table
from unet_tools.data import open_data
from unet_tools.findings import BOUNDS
from unet_tools.framework_exports import kind_of, write_framework_file
from unet_tools.nnunet_folder import engine_sizes, find_recipe


@dataclass(frozen=True)
class Args:
    checkpoint: tyro.conf.Positional[Path]
    """A checkpoint folder."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The bundle to write. An existing bundle is replaced; any other folder must be empty. Or one file in float32:
    .onnx, .torch.onnx (by PyTorch's exporter), .pt2 (torch.export) or .stablehlo (jax.export)."""
    precision: tuple[Precision, ...] = ("fp32",)
    """In the order in which a runtime should prefer them. fp32 is always there, as ONNX."""
    calibrate: str | None = None
    """Images of the kind to be segmented, as for unet train. int8 and fp8 need them; all are judged on them."""
    engines: bool | None = None
    """True: fail where an engine cannot be built. False: build none. Default: where TensorRT-RTX is installed."""
    profile: ProfileName = "general"
    """What engines are for: latency (batch 1), throughput (batch 1 to 16, best at 8) or general (1 to 4, best at 1)."""
    compute_capabilities: tuple[str, ...] = ()
    """GPUs that TensorRT-RTX builds for, such as 86 89. Default: all from 80 on that have the precision."""
    workspace_mib: int | None = None
    """Memory that a kernel may use. Default: the builder's own."""
    timing_cache: Path | None = None
    """A file that the builder keeps its measurements in."""
    version_compatible: bool = False
    """Engines for later versions of TensorRT, too. TensorRT-RTX has none."""
    hardware_compatible: bool = False
    """Engines for every GPU since Ampere. TensorRT-RTX has none: it takes several --compute-capabilities."""
    bake: tuple[Literal["normalize", "softmax", "argmax"], ...] = ()
    """Steps for a further model of the first precision, and its engines: bytes in, labels out."""
    golden: Path | None = None
    """An image to judge on and to put into the bundle. Default: the middle of an image of --calibrate, or, without,
    a synthetic one."""
    licence: str | None = None
    """Of the weights, as the readers of the bundle shall see it, such as CC-BY-4.0."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> int:
    recipe = find_recipe(args.checkpoint)
    if recipe is not None and recipe.folds != (".",):
        return _export_folds(args, recipe)
    return _export(args, recipe)


def _export_folds(args: Args, recipe: Recipe) -> int:
    """A bundle for each fold of an nnU-Net model, what its inference needs beside them, and a Triton repository."""
    if kind := kind_of(args.out):
        raise InputError(f"{args.checkpoint} has {len(recipe.folds)} folds; export one of them to {kind}")
    alone = replace(recipe, folds=(".",))
    code = 0
    for fold in recipe.folds:
        code = max(code, _export(replace(args, checkpoint=args.checkpoint / fold, out=args.out / fold), alone))
    recipe.save(args.out)
    write_nnunet_repository(args.out / TRITON, recipe, [args.out / fold for fold in recipe.folds])
    return code


def _export(args: Args, recipe: Recipe | None) -> int:
    checkpoint = Checkpoint.load(args.checkpoint)
    if kind_of(args.out):
        return _one_file(checkpoint, args)
    images = None
    if args.calibrate is not None:
        images = open_data(args.calibrate, checkpoint.config.spatial_dims).images
    if args.workspace_mib is not None and args.workspace_mib < 1:
        raise InputError(f"--workspace-mib is {args.workspace_mib}; it must be at least 1")
    profile: ProfileName | Profile = args.profile
    if recipe is not None:  # all that its sliding window ever asks for
        least, most = engine_sizes(recipe)
        profile = Profile(least, least, most)
    settings = EngineSettings(
        profile,
        args.compute_capabilities or None,
        None if args.workspace_mib is None else args.workspace_mib * 2**20,
        args.timing_cache,
        args.version_compatible,
        args.hardware_compatible,
    )
    shown = not args.json and notes.is_terminal  # a file has no use for a bar
    columns = (TextColumn("engine"), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=notes, disable=not shown, transient=True) as bar:
        task = bar.add_task("")

        def progress(phase: str, step: int, steps: int) -> None:
            bar.update(task, description=phase, completed=step, total=steps or step or 1)

        bundle = write_bundle(
            checkpoint,
            args.out,
            engines=args.engines,
            precisions=args.precision,
            calibration=images,
            baked=args.bake,
            settings=settings,
            golden_image=None if args.golden is None else read_image(args.golden),
            licence=args.licence,
            extras=None if recipe is None else {NNUNET: recipe.to_json()},
            tell=lambda line: None if args.json else notes.print(line),
            progress=progress,
        )
    findings = check_bundle(args.out)
    passed = all(f.ok is not False for f in findings)
    if args.json:
        engines = [engine.to_dict() for engine in bundle.engines]
        print_json({"bundle": str(args.out), "engines": engines, "findings": [asdict(f) for f in findings]})
        return 0 if passed else 1
    files = sorted(p for p in args.out.rglob("*") if p.is_file())
    lines = [(p.relative_to(args.out).as_posix(), f"{p.stat().st_size:,}") for p in files]
    print_table(str(args.out), ("file", "bytes"), lines, right="1")
    console.print()
    print_findings(findings)
    return 0 if passed else 1


def _one_file(checkpoint: Checkpoint, args: Args) -> int:
    if args.precision != ("fp32",) or args.bake or args.engines or args.calibrate:
        raise InputError(f"{args.out} is one file in float32; for precisions, engines or --bake give a folder")
    geometry = checkpoint.config.geometry
    size = tile_near(geometry, 252 if checkpoint.config.spatial_dims == 2 else 60)
    distance = write_framework_file(checkpoint, args.out, size)
    finding = {"file": str(args.out), "size": list(size), "worst_relative": distance, "bound": BOUNDS["float32"]}
    if args.json:
        print_json(finding)
    else:
        told = f"{'x'.join(map(str, size))} pixels, {distance:.1e} from the float64 reference"
        console.print(f"{args.out}: {told} (bound {BOUNDS['float32']:.0e})")
    return 0 if distance <= BOUNDS["float32"] else 1
