"""Preparation of a training run: its network and paths, and the lines printed about them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from unet_data import Dataset, choose_spacing, resample_dataset, with_border
from unet_data.datasets.splitting import divide
from unet_data.io.stores.remote import absolute, exists, shown
from unet_data.normalize import statistics_note
from unet_data.spacing.target import pixel_size
from unet_jax import RECIPES, TrainSettings
from unet_jax.training.loader import check_loader
from unet_jax.training.loop import class_names
from unet_jax.training.run.beginning import initial_weights
from unet_jax.training.run.selection import AP, measure_for
from unet_jax.training.run.train_state_folder import latest_step
from unet_spec import InputError, NetworkConfig, find_network
from unet_spec.weights.checkpoint import read_config

from ..arguments.data import account_for, open_data
from ..arguments.networks import choose_config, named_network, network_name
from ..console import notes
from .describe import changed_schedule, describe_dataset, warnings
from .flags import TrainArgs
from .stored import is_run_record, stored_run


def with_named_networks(args: TrainArgs) -> TrainArgs:
    """The flags, with names of installed networks in --weights and --config replaced by their folders. Raises
    InputError."""
    config, weights = args.network.config, args.settings.optimisation.weights
    if weights is not None and (folder := named_network(Path(weights))) != Path(weights):
        args = replace(args, settings=args.settings.replace(weights=str(folder)))
    if config is not None and (folder := named_network(config)) != config:
        args = replace(args, network=replace(args.network, config=folder))
    return args


def chosen_network(args: TrainArgs, base: NetworkConfig | None) -> NetworkConfig:
    """The network of a new run, or `base` of a stored run, changed by the flags. A network in the flags takes
    precedence over `base`, so that `--resume` can detect that it differs from the run's."""
    flags = args.network
    if base is not None and flags.preset is None and flags.config is None:
        config = base
    elif flags.config is not None and flags.preset is None and is_run_record(flags.config):
        config = stored_run(flags.config.parent)[0]
    else:
        weights = args.settings.optimisation.weights
        begun = None if weights is None or flags.preset or flags.config else Path(weights)
        if flags.config is not None and (flags.config / "run.json").is_file():
            raise InputError(
                f"{flags.config} is the folder of a run: give its run.json to --config to repeat the run, or its best/ "
                "to --weights to start from its weights"
            )
        config = choose_config(flags.preset, flags.config or begun)
        if flags.config is not None and flags.config.is_dir() and weights is None and base is None:
            notes.print(
                f"{flags.config}: only its network is used, with new weights; --weights "
                f"{flags.config} starts from its weights"
            )
        if args.recipe in RECIPES and flags.config is None and begun is None and config.architecture == "unet":
            config = config.replace(**RECIPES[args.recipe].network)
        if base is not None:
            config = config.replace(in_channels=base.in_channels, out_channels=base.out_channels)
    of_a_unet = {"norm": "normalisation", "norm_groups": "normalisation", "padding": "padding", "dropout": "dropout"}
    for name, own in of_a_unet.items():
        if (value := getattr(flags, name)) is not None and config.architecture != "unet":
            flag = f"--{name.replace('_', '-')} {value}"
            raise InputError(f"{flag}: {config.architecture} has a fixed {own}; leave it out")
    if flags.distance_head:
        if config.architecture != "unet":
            raise InputError(
                f"--distance-head: only a U-Net predicts distances, {config.architecture} does not; leave it out"
            )
        config = config.replace(distance_head=True)
    changes = {name: getattr(flags, name) for name in ("widths", "spatial_dims", *of_a_unet)}
    return config.replace(**{name: value for name, value in changes.items() if value is not None})


def open_parts(args: TrainArgs, base: NetworkConfig | None) -> tuple[NetworkConfig, Dataset, Dataset, Dataset, str]:
    """The network for the data, the data set, its training and validation parts, and a line about the split.

    Args:
        args: the flags.
        base: the network of a stored run; the data must have its classes and channels.
    """
    config = chosen_network(args, base)
    settings = args.settings
    check_loader(settings)  # before the files are read, which may be slow
    data, chosen = settings.data, settings.validation
    dataset = open_data(
        args.data,
        config.spatial_dims,
        settings.optimisation.seed,
        data.loader == "grain",
        data.ignore,
        data.labels,
        settings.reading,
        data.class_numbers,
    )
    if config.distance_head and dataset.instances is None:
        raise InputError(
            f"{dataset.source}: --distance-head needs labels that number objects, each with its own number"
        )
    dataset = resample_dataset(dataset, choose_spacing(dataset, data.spacing))
    if data.objects:
        dataset = with_border(dataset)
    if base is not None:
        dataset = dataset.for_channels(base.in_channels)
    else:
        classes = dataset.class_count
        one = classes <= config.classes == 2 and not dataset.overlapping
        channels = config.out_channels if one else classes
        config = config.replace(in_channels=dataset.channels, out_channels=channels)
    training, validation, how = divide(dataset, chosen.validate, chosen.group, settings.reading, data.class_numbers)
    if dataset.spacing is not None:  # a folder of validation images was opened by `divide`
        validation = resample_dataset(validation, dataset.spacing)
    return config, dataset, training, validation, how


def with_absolute_paths(settings: TrainSettings) -> TrainSettings:
    """The settings with absolute paths, so that the run can be repeated from another working directory."""
    path = Path(settings.validation.validate)
    if (weights := settings.optimisation.weights) is not None:
        settings = settings.replace(weights=str(Path(weights).absolute()))
    return settings.replace(validate=shown(absolute(path))) if exists(path) else settings


def _chosen_by(args: TrainArgs, config: NetworkConfig, training: Dataset) -> list[str]:
    """A line on the score that chooses best/, where it is one of objects."""
    if measure_for(args.settings, config, training) != AP:
        return []
    return [f"best/ is chosen by {AP}: mean AP of objects over IoU 0.5 to 0.95, separated by the defaults (--select)"]


def _resampled(dataset: Dataset) -> list[str]:
    """A line on the pixel size to which the images are resampled."""
    if dataset.spacing is None:
        return []
    target, reason = dataset.spacing, dataset.spacing.reason
    facts = [dataset.file_facts(index) for index in range(len(dataset))]
    missing = sum(not pixel_size(each, dataset.spatial_dims, target.unit) for each in facts)
    unstated = f"; {missing} of {len(dataset)} images state no pixel size and are not resampled" if missing else ""
    return [f"images are resampled to pixels of {target} ({reason}; --spacing none: not resampled){unstated}"]


def _beginning(args: TrainArgs, config: NetworkConfig, training: Dataset) -> list[str]:
    """Lines about the given weights that a new run uses and does not use, and about frozen parts."""
    chosen, lines = args.settings.optimisation, []
    assert args.out is not None
    if latest_step(args.out / "state"):
        return []
    if (adapted := initial_weights(config, args.settings, class_names(config, training))) is not None:
        lines = [f"weights of {chosen.weights}: {adapted.lines[0]}", f"weights: {adapted.lines[1]}"]
        data, own = read_config(find_network(chosen.weights or ""))[1], args.settings.data.normalization
        theirs = data.normalization if data.mean or data.normalization != "dataset" else "none"
        if theirs != own:
            lines.append(f"weights: trained with normalization {theirs}, this run has {own} (--normalization {theirs})")
    return lines + ([f"frozen: {', '.join(chosen.freeze)}"] if chosen.freeze else [])


def announce(
    args: TrainArgs, config: NetworkConfig, whole: Dataset, training: Dataset, validation: Dataset, how: str
) -> None:
    """Prints, in process 0, the network, the data, the step that the run continues from, and warnings."""
    import jax

    assert args.out is not None
    if args.distributed.process:
        return
    if not args.json:
        device = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
        batch, size = args.settings.optimisation.batch, "x".join(map(str, args.settings.data.tile_shape(config)))
        notes.print(
            f"{network_name(config)}, {config.graph.parameter_count:,} parameters, on {device}; {len(training)} "
            f"image(s) for training, {len(validation)} for validation; a step has {batch} tile(s) of {size}"
        )
        notes.print(describe_dataset(training))
        for line in [
            how,
            *_resampled(whole),
            *account_for(whole),
            *filter(None, [statistics_note(training, args.settings.data.normalization)]),
            *_chosen_by(args, config, training),
            *_beginning(args, config, training),
        ]:
            notes.print(line)
    if args.resume:
        step = latest_step(args.out / "state") or 0
        start = f"continuing from step {step}" if step else f"{args.out} has no saved state; starting at step 0"
        notes.print(start)
        if step and (change := changed_schedule(args.settings, stored_run(args.out)[1], step)):
            notes.print(change)
    unlike = args.recipe != "auto" and args.minutes is None and whole.spacing is None  # else the plan says so
    if unlike and (target := choose_spacing(whole)).size:
        notes.print(
            f"warning: pixel sizes of the images differ, and images are not resampled; --spacing auto resamples them "
            f"to {target}"
        )
    for warning in warnings(config, args.settings, training, validation):
        notes.print(f"warning: {warning}")
