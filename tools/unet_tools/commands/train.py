"""Train a network in JAX.

DATA is a folder with images/ and labels/, a folder with *-volume.tif and *-labels.tif, or one of the words synthetic
(cell membranes), synthetic:phase-contrast and synthetic:dic (cells with numbered labels, for --objects and
--distance-head). Network and settings are chosen from the data, this machine and --minutes; unet plan DATA prints them
with reasons. Options that you give take precedence. A sixth of the images is held out for validation.

OUT receives best/ and last/ (checkpoints), report.html, log.jsonl, run.json and state/ (for --resume). Ctrl-C and
SIGTERM save the state, then stop. --config RUN/run.json repeats a run in another folder.

Example: unet train data/isbi2012 --out runs/em --minutes 30
Example: unet train data/isbi2012 --out runs/em --recipe modern --widths 16 32 64 128 --steps 3000
"""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from typing import Any

from unet_data import Dataset
from unet_jax import TrainingPlan, TrainResult, train
from unet_jax.training.run.beginning import NewLayersWarning
from unet_jax.training.run.folder import check_new
from unet_spec import NetworkConfig

from ..arguments.processes import join_processes
from ..console import notes, warnings_as_notes
from ..progress import TrainingProgress
from ..training.alarm import alarm_filtered
from ..training.beginning import announce, open_parts, with_absolute_paths, with_named_networks
from ..training.flags import HELP as HELP
from ..training.flags import TrainArgs as Args
from ..training.folds import run_folds
from ..training.outcome import choose_objects, print_result, print_stopped
from ..training.plans.planned import check_time, describe, plan_run, write_plan
from ..training.programs import cached_programs
from ..training.stored import completed
from ..training.stored import defaults as defaults


def run(args: Args) -> int:
    if args.folds is not None or args.fold is not None:
        return run_folds(args, run)
    say = (lambda line: None) if args.json else notes.print
    args = dataclasses.replace(args, distributed=join_processes(args.distributed, say))
    args = with_named_networks(args)
    args, base = completed(args)
    check_time(args)
    assert args.out is not None
    config, dataset, training, validation, how = open_parts(args, base)
    with warnings_as_notes(), alarm_filtered():
        plan = None
        if base is None and (args.recipe == "auto" or args.minutes is not None):
            check_new(args.out, args.resume)  # before planning, which takes time
            with cached_programs(args.compilation_cache, quiet=True):
                plan = plan_run(args, config, training, validation)
            config, args = plan.network, dataclasses.replace(args, settings=plan.settings)
            if not args.json:
                notes.print(describe(plan, args.minutes is not None))
        announce(args, config, dataset, training, validation, how)
        with cached_programs(args.compilation_cache, args.json):
            result = _train(args, config, training, validation, plan)
            if result.stop_signal:
                if args.distributed.process == 0:
                    print_stopped(args, config, result, training)
                return 128 + result.stop_signal
            if args.distributed.process == 0:
                apart = args.settings.data.objects or config.distance_head
                objects = choose_objects(args, result, validation) if apart else None
                print_result(args, config, result, training, validation, objects)
    return 0


def _train(
    args: Args, config: NetworkConfig, training: Dataset, validation: Dataset, plan: TrainingPlan | None
) -> TrainResult:
    """Trains, with progress on the terminal and in the requested loggers."""
    assert args.out is not None
    settings, out = with_absolute_paths(args.settings), args.out
    optimisation = settings.optimisation
    with contextlib.ExitStack() as stack:
        progress = TrainingProgress(optimisation.steps, optimisation.batch, quiet=args.json)
        reports = [stack.enter_context(progress).report]
        if args.log:
            from ..training.loggers import open_logger, settings_to_log

            about = settings_to_log(config, settings)
            for name in dict.fromkeys(args.log):
                logger = open_logger(name, out, validation, about, args.resume)
                reports.append(stack.enter_context(logger).report)

        def report(record: dict[str, Any]) -> None:
            nonlocal plan
            if plan is not None and args.distributed.process == 0 and out.exists():
                write_plan(out, plan)
                plan = None
            for each in reports:
                each(record)

        if not args.json:
            warnings.simplefilter("ignore", NewLayersWarning)  # `announce` has reported it
        return train(config, settings, training, validation, out, args.resume, report)
