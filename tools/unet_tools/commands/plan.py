"""Plan a training, a prediction or a training step, and print what it takes.

For labelled images: the network and settings that unet train would choose for these images, this machine and
--minutes, each with the rule and the numbers behind it.

With --image: tile size, work relative to the whole image at once, and memory. With --train: the step is compiled for
--device, which this machine need not have; the compiler reports whether the step fits and its minimum time.

Example: unet plan data/isbi2012 --minutes 30
Example: unet plan runs/em/best --image 30000 --memory 2GiB
Example: unet plan --train --preset paper --tile 572 --batch 8 --precision bfloat16 --device tpu-v5e:2x4
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from unet_data import ReadSettings
from unet_data.datasets.label_rule import LabelKind
from unet_spec import InputError, NetworkConfig
from unet_spec.files import format_bytes, parse_bytes
from unet_spec.tiling.planner import Limits, plan_image
from unet_spec.tiling.tiles import per_axis

from ..arguments.networks import choose_config, network_name
from ..arguments.sizes import Size
from ..console import console, notes, print_json, warnings_as_notes
from ..training.plans.step_plan import best_of, plan_step, prepare_compiler, print_cost, search


@dataclass(frozen=True)
class StepFlags:
    device: str = "here"
    """Devices that the step is compiled for: here, or a TPU topology such as tpu-v5e:2x4 (v4, v5e, v5p, v6e)."""
    recipe: Literal["paper-2015", "modern"] | None = None
    """Training recipe, as in unet train."""
    batch: int | None = None
    """Tiles per step, over all devices. Default: from the recipe."""
    accumulate: int | None = None
    """Number of parts that each batch is split into, to save memory; their gradients are averaged."""
    precision: Literal["float32", "bfloat16"] | None = None
    """Arithmetic of the network."""
    remat: bool = False
    """Recompute activations in the backward pass, to save memory."""
    fsdp: bool = False
    """Shard weights and optimizer state over the devices."""
    space: int | None = None
    """Number of devices that each image is divided over; the batch is divided over the others."""
    search: bool = False
    """Try larger batches, both precisions and remat, and report the fastest step that fits."""


@dataclass(frozen=True)
class DataFlags:
    minutes: float | None = None
    """Time of the whole training. Default: 30, where --steps is not given."""
    steps: int | None = None
    """Number of steps, instead of a time; no step is timed then."""
    spatial_dims: Literal[2, 3] = 2
    """Axes of an image: 3 reads each file as one volume. With --preset, axes of the network."""
    labels: LabelKind = "auto"
    """Meaning of the numbers in the mask files, as in unet train."""
    ignore: int | None = None
    """Number in the mask files of pixels to ignore, as in unet train."""
    class_numbers: str = ""
    """Numbers of the classes in the mask files, as in unet train."""
    spacing: str = "auto"
    """Pixel size to which images are resampled, as in unet train."""
    validate: str = "auto"
    """Images for validation, as in unet train."""
    group: str | None = None
    """Regular expression for the part of a name that images of one group share, as in unet train."""
    reading: Annotated[ReadSettings, tyro.conf.arg(name="")] = field(default_factory=ReadSettings)


@dataclass(frozen=True)
class Args:
    checkpoint: tyro.conf.Positional[Path | None] = None
    """Labelled images; with --image or --train, the network: a checkpoint folder, the name of an installed network or a
    config .json."""
    image: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="SIZE [SIZE ...]")] = None
    """Plan the prediction of an image of this size in pixels: one number for all axes, or one per axis."""
    train: bool = False
    """Plan one training step."""
    preset: str | None = None
    """The network, instead of a checkpoint: any preset that unet info lists."""
    widths: tuple[int, ...] | None = None
    """Feature maps per level."""
    runtime: Literal["onnx", "mnn", "mnn-fast", "torch", "jax"] = "onnx"
    """Runtime whose memory is predicted, with --image."""
    memory: str = "2GiB"
    """Memory limit for the tiles, with --image; weights and runtime need more on top."""
    tile: Size = None
    """Size of the input tile in pixels, one number for all axes or one per axis. Default: chosen by the plan with
    --image; as in unet train with --train."""
    halo: int | None = None
    """Output pixels discarded at inner tile edges, with --image. Default: as many as an exact result needs."""
    training: DataFlags = field(default_factory=DataFlags)
    """For labelled images, without --image and --train."""
    step: StepFlags = field(default_factory=StepFlags)
    """For a training step, with --train."""
    json: bool = False
    """Print the plan as JSON."""


def run(args: Args) -> int:
    if args.train and args.image is not None:
        raise InputError("give either --image SIZE to plan a prediction, or --train to plan a training step")
    if not args.train and args.image is None:
        return _plan_training(args)
    config = _network(args)
    return _plan_step(args, config) if args.train else _plan_image(args, config)


def _network(args: Args) -> NetworkConfig:
    """The network to plan for, without data."""
    unset, asked = DataFlags(), args.training
    differing = [f.name for f in fields(asked) if getattr(asked, f.name) != getattr(unset, f.name)]
    if others := ["--" + name.replace("_", "-") for name in differing if name != "spatial_dims"]:
        raise InputError(f"{', '.join(others)}: for labelled images only; leave out with --image and --train")
    config = choose_config(args.preset, args.checkpoint, widths=args.widths)
    if asked.spatial_dims in (unset.spatial_dims, config.spatial_dims):
        return config
    if args.checkpoint is not None:
        raise InputError(f"{args.checkpoint}: this network has {config.spatial_dims} axes; leave out --spatial-dims")
    return config.replace(spatial_dims=asked.spatial_dims)


def _plan_training(args: Args) -> int:
    source = args.checkpoint
    if source is None or (source / "config.json").is_file() or source.suffix == ".json":
        raise InputError(
            "give labelled images to plan a training; or a network, with --image SIZE to plan a prediction or with "
            "--train to plan a training step"
        )
    from unet_jax.training.planning.rules import AUTO

    from ..training.alarm import alarm_filtered
    from ..training.beginning import open_parts
    from ..training.flags import NetworkFlags, TrainArgs
    from ..training.plans.planned import check_time, plan_run, print_plan
    from ..training.programs import cached_programs

    flags = args.training
    names = ("labels", "ignore", "class_numbers", "validate", "group", "spacing")
    values = {name: getattr(flags, name) for name in names}
    given = tuple(name for name in ("steps", "tile") if getattr(flags if name == "steps" else args, name) is not None)
    values |= {name: getattr(flags if name == "steps" else args, name) for name in given}
    given += ("spacing",) * (flags.spacing != "auto")
    settings = AUTO.settings.replace(**values, reading=flags.reading)
    network = NetworkFlags(args.preset, None, args.widths, flags.spatial_dims)
    arguments = TrainArgs(str(source), None, "auto", flags.minutes, given, network=network, settings=settings)
    check_time(arguments)
    config, _, training, validation, _ = open_parts(arguments, None)
    with warnings_as_notes(), alarm_filtered(), cached_programs(None, quiet=True):
        plan = plan_run(arguments, config, training, validation)
    if args.json:
        print_json(plan.to_dict())
    else:
        print_plan(plan)
    return 0


def _plan_image(args: Args, config: NetworkConfig) -> int:
    assert args.image is not None
    dims = config.spatial_dims
    size = per_axis(args.image[0] if len(args.image) == 1 else args.image, dims, "--image")
    tile = None if args.tile is None else per_axis(args.tile, dims, "--tile")
    plan = plan_image(config.geometry, size, args.runtime, Limits(parse_bytes(args.memory), tile=tile, halo=args.halo))
    if args.json:
        values = {k: v for k, v in asdict(plan).items() if k != "tiles"}
        values |= {"redundancy": plan.redundancy, "exact": plan.tiles.exact, "canvas": plan.tiles.canvas}
        print_json(values | {"image": size, "tile": plan.tiles.tile, "tiles": len(plan.tiles)})
        return 0
    console.print(plan.describe())
    if not plan.tiles.exact:
        exact = plan_image(config.geometry, size, args.runtime, Limits(tile=plan.tiles.tile))
        if exact.tiles.exact and exact.work > plan.work:
            console.print(f"an exact halo would need {exact.work / plan.work - 1:.0%} more work at this tile size")
    console.print(
        f"on top of that: memory for the weights, {format_bytes(4 * config.graph.parameter_count)}, and for the runtime"
    )
    return 0


def _plan_step(args: Args, config: NetworkConfig) -> int:
    flags = args.step
    prepare_compiler(flags.device)
    from unet_jax import RECIPES, TrainSettings

    recipe = RECIPES[flags.recipe] if flags.recipe else None
    settings = recipe.settings if recipe else TrainSettings()
    if recipe and config.architecture == "unet" and args.checkpoint is None:
        config = config.replace(**recipe.network)
    changes: dict[str, Any] = {"tile": args.tile, "remat": flags.remat, "fsdp": flags.fsdp}
    changes |= {name: getattr(flags, name) for name in ("batch", "accumulate", "precision", "space")}
    settings = settings.replace(**{name: value for name, value in changes.items() if value is not None})
    title = f"a training step of {network_name(config)}, {config.graph.parameter_count:,} parameters"
    costs = []
    notes.print("compiling; this takes minutes for a network of full width")
    for cost, from_cache in search(config, settings, flags.device) if flags.search else [_one(config, settings, flags)]:
        costs.append(cost)
        if from_cache:
            notes.print("taken from an earlier plan with the same inputs (cached in UNET_CACHE)")
        if not args.json:
            print_cost(title, cost)
    if args.json:
        print_json(costs if flags.search else costs[0])
    elif flags.search:
        best = best_of(costs)
        remat = ", remat" if best["remat"] else ""
        console.print(f"fastest by its minimum time: batch {best['batch']}, {best['precision']}{remat}")
    return 0 if any(cost["fits"] for cost in costs) else 1


def _one(config: NetworkConfig, settings: Any, flags: StepFlags) -> tuple[dict[str, Any], bool]:
    return plan_step(config, settings, flags.device)
