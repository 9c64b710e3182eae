"""Write a bundle for deployment: ONNX, TensorRT engines, a manifest, and the error of each against the reference.

If TensorRT for RTX is installed, it builds engines; that needs no GPU. Every reduced precision is compared with the
float64 reference before it is written. Layers that lose too much accuracy stay in float32; if that is not enough, no
bundle is written.

Example: unet export runs/em/best -o bundle --precision fp16 int8 fp32 --calibrate data/isbi2012
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.progress import BarColumn, Progress, TextColumn

from unet_data import read_image
from unet_data.nnunet import NnunetPlans, find_plans
from unet_data.nnunet.plans import FILE as NNUNET
from unet_export import BundleSettings, EngineSettings, Profile, sign_bundle, write_bundle
from unet_export.onnx.fused import Step
from unet_export.precision.formats import Precision
from unet_export.reference import FLOAT32_BOUND
from unet_export.serving.repository import FOLDER as TRITON
from unet_export.serving.repository import add_models, check_free, checked_name
from unet_export.serving.triton import NAME, model_names
from unet_export.serving.triton_nnunet import NAME as NNUNET_NAME
from unet_export.serving.triton_nnunet import nnunet_model_names, write_nnunet_repository
from unet_export.tensorrt.profile import ProfileName
from unet_export.tensorrt.settings import Backend
from unet_spec import Checkpoint, InputError
from unet_spec.tiling.tiles import tile_below

from ..arguments.data import calibration_images
from ..arguments.networks import named_network
from ..arguments.runtimes import said_in_float32
from ..checking.runtimes import check_bundle
from ..console import console, notes, print_json, print_table
from ..conversion.formats import implied
from ..conversion.framework_exports import kind_of, write_framework_file
from ..conversion.other_software import Package, PackageFlags, PackageRequest, write_package
from .check import print_findings


@dataclass(frozen=True)
class EngineFlags(EngineSettings):
    """How engines are built."""

    profile: ProfileName = "general"
    """Batch sizes that engines accept. latency: 1. throughput: 1 to 16, optimised for 8. general: 1 to 4, optimised for
    1."""
    backend: tyro.conf.Suppress[Backend | None] = None
    tf32: tyro.conf.Suppress[bool] = False


@dataclass(frozen=True)
class Args:
    checkpoint: tyro.conf.Positional[Path]
    """A checkpoint folder, or the name of an installed network."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The bundle (a folder) to write. An existing bundle is replaced; any other folder must be empty. Or one file in
    float32: .onnx, .torch.onnx (by PyTorch's exporter), .pt2 (torch.export) or .stablehlo (jax.export)."""
    to: Package | None = None
    """Package for other software, instead of a bundle. bioimageio: a .zip for the BioImage Model Zoo (ilastik, Fiji,
    QuPath). web: a static web page that segments images in the browser. cpp: a folder of C++ sources."""
    package: Annotated[PackageFlags, tyro.conf.arg(name="")] = field(default_factory=PackageFlags)
    precision: tuple[Precision, ...] = ("fp32",)
    """Precisions to write, the preferred one first. fp32 is always included, as ONNX."""
    calibrate: str | None = None
    """Representative images, as for unet train. int8 and fp8 need them; all precisions are compared on them."""
    engines: bool | None = None
    """Whether to build TensorRT engines. True: yes, and an engine that cannot be built is an error. False: no. Default:
    yes if TensorRT for RTX is installed."""
    engine: Annotated[EngineFlags, tyro.conf.arg(name="")] = EngineFlags()
    bake: tuple[Step, ...] = ()
    """Also write a model of the first precision with pre- and post-processing fused in, and its engines. normalize
    takes raw pixels, argmax gives labels."""
    golden: Path | None = None
    """Test image that is stored in the bundle with its expected output. Default: the centre of an image of --calibrate,
    or a synthetic image."""
    licence: str | None = None
    """Licence of the weights, such as CC-BY-4.0, stated in the bundle."""
    opset: int | None = None
    """ONNX opset of an .onnx file, for runtimes older than opset 21 (ONNX Runtime 1.18, OpenCV 4.11)."""
    size: tuple[int, ...] = ()
    """Fixed image size of an .onnx file in pixels, one number or one per axis, for one image at a time. Default: every
    size that fits."""
    name: str | None = None
    """Name of the network in model repositories for Triton, such as nuclei. Default: unet, or nnunet for a model of
    nnU-Net."""
    triton: Path | None = None
    """A model repository to add the bundle's models for Triton to, so that one server has several networks. A name that
    it already has is refused."""
    triton_objects: bool | None = None
    """Whether the bundle's ensemble for Triton also numbers objects, by a step in Python that needs unet-twins in the
    server. Default: if object settings are stored with the network, it has a class "border", or it predicts
    distances."""
    sign: str | None = None
    """Sign the bundle with a private key (a PEM file, elliptic curve), or with sigstore, by an account's identity and
    an internet connection. unet check --verify verifies the signature."""
    json: bool = False
    """Print the result as JSON."""


def run(args: Args) -> int:
    args = replace(args, checkpoint=named_network(args.checkpoint))
    if args.to is not None:
        if args.sign is not None:
            raise InputError(f"--sign signs a bundle, not what --to {args.to} writes")
        if given := _of_triton(args):
            raise InputError(f"{given} is for the models for Triton in a bundle; --to {args.to} writes none")
        return write_package(args.to, _package_request(args), args.json)
    if given := args.package.given():
        raise InputError(f"{given} needs --to; a bundle has no place for it")
    plans = find_plans(args.checkpoint)
    if plans is not None and args.triton_objects:
        raise InputError(f"{args.checkpoint}: nnU-Net's model for Triton gives labels; leave out --triton-objects")
    if plans is not None and plans.folds != (".",):
        return _export_folds(args, plans)
    if args.triton is not None:
        check_free(args.triton, model_names(checked_name(args.name or NAME)))
    code = _export(args, plans)
    if code == 0:
        _add_to_server(args)
    return code


def _of_triton(args: Args) -> str | None:
    given = {"--name": args.name, "--triton": args.triton, "--triton-objects": args.triton_objects}
    return next((flag for flag, value in given.items() if value is not None), None)


def _add_to_server(args: Args) -> None:
    if args.triton is not None:
        names = add_models(args.out / TRITON, args.triton)
        notes.print(f"{args.triton} has the models {', '.join(names)}")


def _export_folds(args: Args, plans: NnunetPlans) -> int:
    """Writes a bundle per fold of an nnU-Net model, the files that its inference needs, and a Triton repository."""
    if kind := kind_of(args.out):
        raise InputError(f"{args.checkpoint} has {len(plans.folds)} folds; export one of them to {kind}")
    alone = replace(plans, folds=(".",))
    name, code = checked_name(args.name or NNUNET_NAME), 0
    if args.triton is not None:
        check_free(args.triton, nnunet_model_names(name, plans))
    for fold in plans.folds:
        own = replace(args, checkpoint=args.checkpoint / fold, out=args.out / fold, name=None)
        code = max(code, _export(own, alone))
    plans.save(args.out)
    write_nnunet_repository(args.out / TRITON, plans, [args.out / fold for fold in plans.folds], name)
    if code == 0:
        _add_to_server(args)
    return code


def _export(args: Args, plans: NnunetPlans | None) -> int:
    checkpoint = said_in_float32(Checkpoint.load(args.checkpoint), args.checkpoint)
    if kind_of(args.out):
        if args.sign is not None:
            raise InputError(f"--sign signs a bundle; {args.out} is one file")
        if given := _of_triton(args):
            raise InputError(f"{given} is for the models for Triton in a bundle; {args.out} is one file")
        return _one_file(checkpoint, args)
    if implied(args.out) != "checkpoint":
        raise InputError(f"{args.out}: a bundle is a folder; unet convert {args.checkpoint} {args.out} writes weights")
    if args.out.suffix == ".zip":
        raise InputError(f"{args.out}: a bundle is a folder; --to bioimageio writes a .zip")
    if args.opset is not None or args.size:
        raise InputError(f"--opset and --size are for one .onnx file, such as -o {args.out}.onnx, not for a bundle")
    images = None
    if args.calibrate is not None:
        images = calibration_images(args.calibrate, checkpoint)
    engine: EngineSettings = args.engine
    if plans is not None:  # all input sizes of its sliding window
        smallest, largest = (1, *plans.patch), (len(plans.window().views), *plans.patch)
        engine = replace(engine, profile=Profile(smallest, smallest, largest))
    shown = not args.json and notes.is_terminal  # no progress bar in files
    columns = (TextColumn("engine"), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=notes, disable=not shown, transient=True) as bar:
        task = bar.add_task("")

        def progress(phase: str, step: int, steps: int) -> None:
            bar.update(task, description=phase, completed=step, total=steps or step or 1)

        bundle = write_bundle(
            checkpoint,
            args.out,
            BundleSettings(
                args.precision,
                args.engines,
                engine,
                args.bake,
                args.licence,
                args.name or NAME,
                False if plans is not None else args.triton_objects,
            ),
            calibration=images,
            golden_image=None if args.golden is None else read_image(args.golden),
            extras=None if plans is None else {NNUNET: plans.to_json()},
            report=lambda line: None if args.json else notes.print(line),
            progress=progress,
        )
    if args.sign is not None:
        sign_bundle(args.out, args.sign)
    findings = check_bundle(args.out)
    passed = all(f.ok is not False for f in findings)
    if args.json:
        engines = [engine.to_dict() for engine in bundle.engines]
        print_json(
            {
                "bundle": str(args.out),
                "digest": bundle.digest,
                "signed": args.sign is not None,
                "engines": engines,
                "findings": [asdict(f) for f in findings],
            }
        )
        return 0 if passed else 1
    files = sorted(p for p in args.out.rglob("*") if p.is_file())
    lines = [(p.relative_to(args.out).as_posix(), f"{p.stat().st_size:,}") for p in files]
    print_table(str(args.out), ("file", "bytes"), lines, right="1")
    console.print()
    print_findings(findings)
    signed = "" if args.sign is None else f"; signed with {args.sign}"
    console.print(f"digest of the bundle (SHA-256 of manifest.json): {bundle.digest}{signed}", soft_wrap=True)
    return 0 if passed else 1


def _package_request(args: Args) -> PackageRequest:
    if args.precision != ("fp32",) or args.bake or args.engines:
        raise InputError(f"--to {args.to} writes float32 for any machine; leave out --precision, --bake and --engines")
    return PackageRequest(args.checkpoint, args.out, args.package, args.licence, args.calibrate, args.golden)


def _one_file(checkpoint: Checkpoint, args: Args) -> int:
    if args.precision != ("fp32",) or args.bake or args.engines or args.calibrate:
        raise InputError(f"{args.out} is one file in float32; for precisions, engines or --bake give a folder")
    geometry = checkpoint.config.geometry
    dims = checkpoint.config.spatial_dims
    size = args.size or tile_below(geometry, 252 if dims == 2 else 60)
    size = size * dims if len(size) == 1 else size
    if len(size) != dims:
        raise InputError(f"--size has {len(size)} numbers; give one, or one for each of the {dims} axes")
    distance = write_framework_file(checkpoint, args.out, size, args.opset, bool(args.size))
    finding = {"file": str(args.out), "size": list(size), "worst_relative": distance, "bound": FLOAT32_BOUND}
    if args.json:
        print_json(finding)
    else:
        text = f"{'x'.join(map(str, size))} pixels, {distance:.1e} from the float64 reference"
        console.print(f"{args.out}: {text} (bound {FLOAT32_BOUND:.0e})")
    return 0 if distance <= FLOAT32_BOUND else 1
