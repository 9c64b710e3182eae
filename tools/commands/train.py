"""Train a network in JAX. The last sixth of the data, as one block, validates; it is never trained on.

DATA is a folder with images/ and labels/, a folder with *-volume.tif and *-labels.tif, or the word synthetic. With
--loader grain it may be larger than memory, and hold .npy and .zarr. Pixels with the label --ignore do not count.
OUT receives best/ and last/ (checkpoints), log.jsonl, run.json, report.html and state/ (for --resume).
--config run.json repeats a run, into another folder. SIGTERM or Ctrl-C saves and leaves.

Example: unet train data/isbi2012 --out runs/em --recipe modern --widths 16 32 64 128 --steps 3000
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro

from unet_data import Dataset, split
from unet_data.evaluate import measure
from unet_jax.loader import check_loader
from unet_jax.recipes import RECIPES, Recipe, RecipeName
from unet_jax.run_folder import FREE, next_folder, read_run
from unet_jax.runtime import JaxRuntime
from unet_jax.settings import TrainSettings
from unet_jax.state import latest_step
from unet_jax.train import TrainResult, train
from unet_jax.zoo import from_pretrained
from unet_spec import InputError, NetworkConfig
from unet_tools.before_training import another_schedule, warnings, what_is_learnt
from unet_tools.console import console, notes, print_json, print_table
from unet_tools.data import open_data
from unet_tools.networks import choose_config, network_name
from unet_tools.progress import TrainingProgress


@dataclass(frozen=True)
class Args:
    data: tyro.conf.Positional[str] = ""
    """Labelled images. Default: those of --config."""
    out: Path | None = None
    """The run folder. Default: beside that of --config, numbered."""
    recipe: RecipeName | None = None
    """Defaults of the settings below and, of a U-Net, a network that suits them."""
    preset: str | None = None
    """The network: any preset that unet info knows. Default: paper."""
    config: Path | None = None
    """A network as a config .json, instead of a preset; or the run.json of a run that is to be repeated."""
    widths: tuple[int, ...] | None = None
    """Feature maps per level."""
    spatial_dims: Literal[2, 3] | None = None
    """3: of volumes. Default: that of the preset or the config, 2 in all presets."""
    padding: Literal["valid", "same"] | None = None
    """Of the convolutions in a U-Net: none, and the output is smaller, or one zero a side."""
    norm: Literal["none", "batch", "group", "instance"] | None = None
    """Normalisation in a U-Net. Default: that of the recipe or the preset."""
    norm_groups: int | None = None
    """Groups of a group norm; a divisor of every width. Default: 8, or that of the config."""
    dropout: float | None = None
    """Share of the features that a U-Net drops at the end of the contracting path. Default: as for norm."""
    resume: bool = False
    """Go on with the run in --out, with its own network and settings; others are refused, but for some."""
    tensorboard: bool = False
    """Also write losses, scores and overlays for TensorBoard to OUT/tensorboard."""
    report: bool = True
    """Write OUT/report.html, where matplotlib and jinja2 are installed."""
    coordinator: str = ""
    """Of several processes that train together: host:port of the first one."""
    processes: int = 1
    """How many they are."""
    process: int = 0
    """Which of them this is."""
    json: bool = False
    """Print the result as JSON."""
    settings: TrainSettings = field(default_factory=TrainSettings)


def defaults(arguments: Sequence[str]) -> Args:
    """The defaults of the flags: those of the recipe, of the run in --config or, with --resume, of that in --out."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for flag in ("--recipe", "--config", "--out"):
        early.add_argument(flag)
    early.add_argument("--resume", action="store_true")
    try:
        known, _ = early.parse_known_args(list(arguments))
    except argparse.ArgumentError:
        return Args()  # tyro tells it better
    recipe = RECIPES.get(known.recipe)
    if known.resume and known.out and (Path(known.out) / "run.json").exists():
        stored = _stored(Path(known.out))[1]
        return Args(settings=_with_recipe(stored, recipe) if recipe else stored)
    if known.config and _is_run(Path(known.config)):
        return Args(settings=_stored(Path(known.config).parent)[1])
    return Args(settings=recipe.settings) if recipe else Args()


def _with_recipe(stored: TrainSettings, recipe: Recipe) -> TrainSettings:
    """A run's settings with those that recipes are about as this one has them: another than the run's is seen so."""
    plain, recipes = TrainSettings(), [each.settings for each in RECIPES.values()]
    names = [f.name for f in dataclasses.fields(TrainSettings) if f.name not in FREE]
    chosen = [n for n in names if any(getattr(each, n) != getattr(plain, n) for each in recipes)]
    return dataclasses.replace(stored, **{name: getattr(recipe.settings, name) for name in chosen})


def run(args: Args) -> int:
    _join(args)
    args, base = _completed(args)
    assert args.out is not None
    config = _network(args, base)
    check_loader(args.settings)  # before the files are gone through, which may take long
    settings = args.settings
    stored = settings.loader == "grain"
    dataset = open_data(args.data, config.spatial_dims, settings.seed, stored, settings.ignore, settings.labels)
    if base is None:
        classes = dataset.class_count
        channels = config.out_channels if classes <= config.classes == 2 else classes
        config = config.replace(in_channels=dataset.channels, out_channels=channels)
    training, validation = split(dataset)
    _announce(args, config, training, validation)
    with contextlib.ExitStack() as stack:
        reports = [stack.enter_context(TrainingProgress(args.settings.steps, quiet=args.json)).report]
        if args.tensorboard:
            from unet_tools.tensorboard import TensorBoard

            reports.append(stack.enter_context(TensorBoard(args.out, validation)).report)

        def report(record: dict[str, Any]) -> None:
            for each in reports:
                each(record)

        result = train(config, args.settings, training, validation, args.out, args.resume, report)
    if result.stopped:
        again = shlex.join(["unet", "train", args.data, "--out", str(args.out), "--resume"])
        notes.print(f"stopped; the state is saved: {again} goes on", soft_wrap=True)
        return 128 + result.stopped
    if args.process == 0:
        _tell(args, config, result, validation)
    return 0


def _announce(args: Args, config: NetworkConfig, training: Dataset, validation: Dataset) -> None:
    """What is trained on what, where the run goes on, and what it cannot learn; of several processes, the first one
    says it."""
    import jax

    assert args.out is not None
    if args.process:
        return
    if not args.json:
        device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
        size = "x".join(map(str, args.settings.tile_shape(config)))
        notes.print(
            f"{network_name(config)}, {config.graph.parameter_count:,} parameters, on {device}; {len(training)} "
            f"image(s) to train on, {len(validation)} to measure on; a step takes {args.settings.batch} of {size}",
            soft_wrap=True,
        )
        notes.print(what_is_learnt(training), soft_wrap=True)
    if args.resume:
        step = latest_step(args.out / "state") or 0
        told = f"going on from step {step}" if step else f"{args.out} holds no saved state: from the beginning"
        notes.print(told, soft_wrap=True)
        if step and (told := another_schedule(args.settings, _stored(args.out)[1], step)):
            notes.print(told, soft_wrap=True)
    for warning in warnings(config, args.settings, training, validation):
        notes.print(f"warning: {warning}", soft_wrap=True)


def _join(args: Args) -> None:
    """Joins the other processes, where there are any. Raises InputError where the flags or the network do not fit."""
    if args.processes == 1 and not args.coordinator and not args.process:
        return
    if not 0 <= args.process < args.processes or args.processes < 2:
        raise InputError(
            f"--processes {args.processes} --process {args.process}: of several processes, give each its own number "
            "from 0, below their number (--coordinator host:port --processes N --process I)"
        )
    import jax

    try:
        jax.distributed.initialize(args.coordinator or None, args.processes, args.process)
    except (ValueError, RuntimeError) as e:
        told = (str(e).splitlines() or [type(e).__name__])[0]
        raise InputError(f"cannot join {args.processes} processes: {told} (--coordinator host:port)") from None


def _network(args: Args, base: NetworkConfig | None) -> NetworkConfig:
    """That of a new run; or `base`, a stored run's, with what the flags change. Where they name a network beside it,
    that one: another than the run's is seen so."""
    if base is not None and args.preset is None and args.config is None:
        config = base
    elif args.config is not None and args.preset is None and _is_run(args.config):
        config = _stored(args.config.parent)[0]
    else:
        config = choose_config(args.preset, args.config)
        if args.recipe and args.config is None and config.architecture == "unet":
            config = config.replace(**RECIPES[args.recipe].network)
        if base is not None:
            config = config.replace(in_channels=base.in_channels, out_channels=base.out_channels)
    of_a_unet = {"norm": "normalisation", "norm_groups": "normalisation", "padding": "padding", "dropout": "dropout"}
    for name, own in of_a_unet.items():
        if (value := getattr(args, name)) is not None and config.architecture != "unet":
            flag = f"--{name.replace('_', '-')} {value}"
            raise InputError(f"{flag}: {config.architecture} has its own {own}; leave it out")
    changes = {name: getattr(args, name) for name in ("widths", "spatial_dims", *of_a_unet)}
    return config.replace(**{name: value for name, value in changes.items() if value is not None})


def _tell(args: Args, config: NetworkConfig, result: TrainResult, validation: Dataset) -> None:
    best = from_pretrained(result.out / "best")
    objects = measure(JaxRuntime(best).run, config, best.data, validation, objects=True)
    _print(args, config, result, validation, objects)
    if args.report:
        from unet_tools.run_report import write_run_report

        try:
            page = write_run_report(result, config, args.settings, best, validation, objects)
        except InputError as e:
            notes.print(f"warning: {e}", soft_wrap=True)
        else:
            if page:
                notes.print(f"look at {page}", soft_wrap=True)


def _print(
    args: Args, config: NetworkConfig, result: TrainResult, validation: Dataset, objects: dict[str, float]
) -> None:
    if args.json:
        values = dataclasses.asdict(result) | {"parameters": config.graph.parameter_count, "best": objects}
        print_json({k: v for k, v in values.items() if k not in ("log", "stopped")})
        return
    lines = [
        (name, f"{value:.4f}", f"{result.scores[name]:.4f}" if name in result.scores else "")
        for name, value in objects.items()
    ]
    print_table(f"validation on {len(validation)} images", ("measure", "best", "last"), lines, right="1 2")
    console.print(f"next: unet predict {shlex.quote(str(result.out / 'best'))} IMAGE -o OUT", soft_wrap=True)


def _completed(args: Args) -> tuple[Args, NetworkConfig | None]:
    """With data and out filled in from a run, and that run's network, where there is one."""
    config = None
    if args.resume and args.out and (args.out / "run.json").exists():
        config, _, data = _stored(args.out)
        args = dataclasses.replace(args, data=args.data or data)
    elif args.config and _is_run(args.config):
        if args.resume and args.out is None:
            raise InputError(f"--resume needs --out: the run to go on with, {args.config.parent} or a repetition of it")
        if args.recipe:
            raise InputError(f"{args.config} has its own settings; leave out --recipe, or change them by their flags")
        config, _, data = _stored(args.config.parent)
        if changed := read_run(args.config.parent)["changed"]:
            told = "; ".join(f"{n} {v[0]} → {v[1]}" for n, v in changed[0].items() if n != "after")
            notes.print(
                f"{args.config.parent} went on with other settings ({told} after step {changed[0]['after']}); this run "
                "has the last ones from its beginning, so that its numbers will differ",
                soft_wrap=True,
            )
        out = args.out or next_folder(args.config.parent)
        args = dataclasses.replace(args, data=args.data or data, out=out, config=None)
    if config is not None and not args.data:
        raise InputError("the run was made of images that are in no files; give the data: unet train DATA …")
    if not args.data or args.out is None:
        raise InputError("give the data and --out: unet train DATA --out RUN (or --config RUN/run.json)")
    return args, config


def _is_run(path: Path) -> bool:
    return path.name == "run.json"


def _stored(folder: Path) -> tuple[NetworkConfig, TrainSettings, str]:
    """The network, settings and data of a run."""
    record = read_run(folder)
    where = str(folder / "run.json")
    return (
        NetworkConfig.from_dict(record["network"], where),
        TrainSettings.from_dict(record["settings"], where),
        record["path"],
    )
