"""Runs that are resumed or repeated: settings in their run.json replace the defaults."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from unet_jax import RECIPES, TrainingRecipe, TrainSettings
from unet_jax.training.planning.rules import AUTO
from unet_jax.training.run.folder import FREE, next_folder, read_run
from unet_spec import InputError, NetworkConfig

from ..console import notes
from .flags import TrainArgs
from .plans.planned import given_flags


def defaults(arguments: Sequence[str]) -> TrainArgs:
    """The defaults of the flags: those of the recipe, of the run in --config or, with --resume, of the run in --out."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for flag in ("--recipe", "--config", "--out"):
        early.add_argument(flag)
    early.add_argument("--resume", action="store_true")
    try:
        known, _ = early.parse_known_args(list(arguments))
    except argparse.ArgumentError:
        return TrainArgs()  # tyro's error message is better
    recipe, given = RECIPES.get(known.recipe), given_flags(arguments)
    if known.resume and known.out and (Path(known.out) / "run.json").exists():
        stored = stored_run(Path(known.out))[1]
        return TrainArgs(settings=_with_recipe(stored, recipe) if recipe else stored, given=given)
    if known.config and is_run_record(Path(known.config)):
        return TrainArgs(settings=stored_run(Path(known.config).parent)[1], given=given)
    if known.recipe in (None, "auto"):
        return TrainArgs(recipe="auto", settings=AUTO.settings, given=given)
    return TrainArgs(settings=recipe.settings, given=given) if recipe else TrainArgs(given=given)


def _with_recipe(stored: TrainSettings, recipe: TrainingRecipe) -> TrainSettings:
    """A run's settings, in which all settings that any recipe changes have this recipe's values, so that `--resume` can
    detect a recipe that differs from the run's."""
    plain, chosen = TrainSettings().to_dict(), recipe.settings.to_dict()
    recipes = [each.settings.to_dict() for each in RECIPES.values()]
    names = [n for n in plain if n not in FREE and any(each[n] != plain[n] for each in recipes)]
    return stored.replace(**{name: chosen[name] for name in names})


def completed(args: TrainArgs) -> tuple[TrainArgs, NetworkConfig | None]:
    """The flags, with data and out of the resumed or repeated run, and that run's network, if any."""
    network, source = None, args.network.config
    if args.resume and args.out and (args.out / "run.json").exists():
        network, own, data = stored_run(args.out)
        _check_weights(args.out, own.optimisation.weights, args.settings.optimisation.weights)
        args = dataclasses.replace(args, data=args.data or data)
    elif source and is_run_record(source):
        if args.resume and args.out is None:
            raise InputError(f"--resume needs --out, the run to continue: {source.parent} or a repetition of it")
        if args.recipe and args.recipe != "none":
            raise InputError(
                f"{source} has its own settings; leave out --recipe, or override single settings by their flags"
            )
        network, _, data = stored_run(source.parent)
        if changed := read_run(source.parent)["changed"]:
            changes = "; ".join(f"{n} {v[0]} → {v[1]}" for n, v in changed[0].items() if n != "after")
            notes.print(
                f"{source.parent} was resumed with other settings ({changes} after step "
                f"{changed[0]['after']}); this run "
                "uses the later settings from the start, so its results will differ"
            )
        out, flags = args.out or next_folder(source.parent), dataclasses.replace(args.network, config=None)
        args = dataclasses.replace(args, data=args.data or data, out=out, network=flags)
    if network is not None and not args.data:
        raise InputError("the run was trained on images from memory, not from files; give the data: unet train DATA …")
    if not args.data or args.out is None:
        raise InputError("give the data and --out: unet train DATA --out RUN (or --config RUN/run.json)")
    return args, network


def _check_weights(out: Path, own: str | None, asked: str | None) -> None:
    """Raises InputError if --resume is given with other --weights than the run started from."""
    if asked is not None and (own is None or Path(asked).absolute() != Path(own)):
        raise InputError(
            f"--weights {asked} with --resume: {out} continues with its own weights; leave out --weights, or leave out "
            "--resume and give another folder"
        )


def is_run_record(path: Path) -> bool:
    return path.name == "run.json"


def stored_run(folder: Path) -> tuple[NetworkConfig, TrainSettings, str]:
    """The network, settings and data of a run."""
    record = read_run(folder)
    where = str(folder / "run.json")
    return (
        NetworkConfig.from_dict(record["network"], where),
        TrainSettings.from_dict(record["settings"], where),
        record["path"],
    )
