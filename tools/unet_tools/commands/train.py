"""Train a network in JAX. A sixth of the data (--validate, --group) validates and is never trained on.

DATA is a folder with images/ and labels/, a folder with *-volume.tif and *-labels.tif, or a word: synthetic (cell
membranes), synthetic:phase-contrast or synthetic:dic (cells, with labels that number them, for --objects). With
--loader grain it may be larger than memory, and hold .npy and .zarr. Pixels with the label --ignore do not count.
OUT receives best/ and last/ (checkpoints), log.jsonl, run.json, report.html and state/ (for --resume).
--config run.json repeats a run, into another folder. SIGTERM or Ctrl-C saves and leaves.

Example: unet train data/isbi2012 --out runs/em --recipe modern --widths 16 32 64 128 --steps 3000
"""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

from unet_data import Dataset, with_border
from unet_data.datasets.splitting import divide
from unet_jax import TrainResult, TrainSettings, train
from unet_jax.training.loader import check_loader
from unet_jax.training.run.beginning import BeginsAnew
from unet_spec import NetworkConfig

from ..arguments.data import open_data
from ..console import warnings_as_notes
from ..progress import TrainingProgress
from ..training.alarm import alarm_filtered
from ..training.beginning import announce, chosen_network, join_processes, with_absolute_paths, with_named_networks
from ..training.flags import TrainArgs as Args
from ..training.outcome import choose_objects, print_result, print_stopped
from ..training.programs import kept_programs
from ..training.stored import completed
from ..training.stored import defaults as defaults


def run(args: Args) -> int:
    join_processes(args.distributed)
    args = with_named_networks(args)
    args, base = completed(args)
    assert args.out is not None
    config = chosen_network(args, base)
    settings = with_absolute_paths(args.settings)
    check_loader(settings)  # before the files are read, which may take long
    data, seed = settings.data, settings.optimisation.seed
    dataset = open_data(
        args.data,
        config.spatial_dims,
        seed,
        data.loader == "grain",
        data.ignore,
        data.labels,
        settings.reading,
        data.class_numbers,
    )
    if data.objects:
        dataset = with_border(dataset)
    if base is not None:
        dataset = dataset.for_channels(base.in_channels)
    if base is None:
        classes = dataset.class_count
        one = classes <= config.classes == 2 and not dataset.overlapping
        channels = config.out_channels if one else classes
        config = config.replace(in_channels=dataset.channels, out_channels=channels)
    chosen = settings.validation
    training, validation, how = divide(dataset, chosen.validate, chosen.group, settings.reading, data.class_numbers)
    announce(args, config, dataset, training, validation, how)
    with warnings_as_notes(), alarm_filtered(), kept_programs(args.compilation_cache, args.json):
        result = _train(args, config, settings, training, validation)
        if result.stop_signal:
            if args.distributed.process == 0:
                print_stopped(args, config, result, training)
            return 128 + result.stop_signal
        if args.distributed.process == 0:
            objects = choose_objects(args, result, validation) if data.objects else None
            print_result(args, config, result, training, validation, objects)
    return 0


def _train(
    args: Args, config: NetworkConfig, settings: TrainSettings, training: Dataset, validation: Dataset
) -> TrainResult:
    """Trains, with progress on the terminal and, where it is asked for, in TensorBoard."""
    assert args.out is not None
    optimisation = settings.optimisation
    with contextlib.ExitStack() as stack:
        progress = TrainingProgress(optimisation.steps, optimisation.batch, quiet=args.json)
        reports = [stack.enter_context(progress).report]
        if args.tensorboard:
            from ..training.tensorboard import TensorBoard

            reports.append(stack.enter_context(TensorBoard(args.out, validation)).report)

        def report(record: dict[str, Any]) -> None:
            for each in reports:
                each(record)

        if not args.json:
            warnings.simplefilter("ignore", BeginsAnew)  # `announce` has said it
        return train(config, settings, training, validation, args.out, args.resume, report)
