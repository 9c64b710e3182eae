"""Makes, prints and stores the plan of a training run."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

from unet_data import Dataset
from unet_jax import TrainingPlan, TrainSettings, plan_training
from unet_jax.training.planning.plan import MINUTES, NETWORK_SETTINGS, STAGED
from unet_jax.training.planning.rules import Choice
from unet_spec import InputError, NetworkConfig
from unet_spec.files import writing

from ...arguments.sizes import text_of
from ...console import console, notes, print_table, to_json
from ..flags import NetworkFlags, TrainArgs

PLAN = "plan.json"
"""File of the plan in the folder of a run."""


def check_time(args: TrainArgs) -> None:
    """Raises InputError if --minutes cannot be used, or if several processes would each time steps separately."""
    timed = args.minutes is not None or (args.recipe == "auto" and "steps" not in args.given)
    if timed and (args.distributed.processes or 1) > 1:
        raise InputError(
            "several processes cannot plan by --minutes, since each would plan another number of steps; give --steps"
        )
    if args.minutes is None:
        return
    if not 0 < args.minutes < float("inf"):
        raise InputError(f"--minutes {args.minutes:g}: it must be above 0")
    if "steps" in args.given:
        raise InputError(f"--minutes {args.minutes:g} and --steps: give only one of them")


def plan_run(args: TrainArgs, config: NetworkConfig, training: Dataset, validation: Dataset) -> TrainingPlan:
    """The plan of `unet train` for a new run.

    Args:
        args: the flags; `given` lists those that the user gave.
        config: config with the data's channels and classes; the network itself if the flags name one.
        training, validation: the two parts of the data set.
    """
    flags, whole = args.network, TrainSettings().to_dict()
    names = [name for name in args.given if name in whole or name in whole["augmentation"]]
    values = args.settings.to_dict()
    given = {name: values.get(name, values["augmentation"].get(name)) for name in names}
    given |= {name: value for name in NETWORK_SETTINGS if (value := getattr(flags, name)) is not None}
    if args.recipe != "auto":  # --minutes with another recipe plans only the number of steps
        given |= {name: value for name, value in values.items() if name not in ("augmentation", "steps")}
        given |= values["augmentation"]

    def announce() -> None:
        if not args.json:
            notes.print("planning: a few steps are compiled and timed")

    return plan_training(
        config,
        training,
        validation,
        settings=args.settings,
        given=given,
        seconds=None if "steps" in args.given else 60 * (args.minutes or MINUTES),
        choose_network=args.recipe == "auto" and not names_network(flags, args.settings),
        announce=announce,
    )


def names_network(flags: NetworkFlags, settings: TrainSettings) -> bool:
    """Whether the user named the network, so that it is not chosen."""
    return bool(flags.preset or flags.config or settings.optimisation.weights)


def describe(plan: TrainingPlan, minutes_given: bool) -> str:
    """One line: the choices that differ from the flags' defaults, and where the reasons are stored."""
    defaults = TrainSettings().to_dict()
    defaults |= defaults["augmentation"] | {"validate_every": plan.settings.validation.validate_every, "dropout": 0.0}
    own = [choice for choice in plan.choices if not choice.given and choice.value != defaults.get(choice.name)]
    chosen = ", ".join(f"{_flag(choice.name)} {_text(choice)}" for choice in own)
    time = "" if plan.minutes is None else f"; about {_minutes(plan.minutes)}"
    time += "" if minutes_given or plan.minutes is None else ", since neither --minutes nor --steps is given"
    return f"planned{time}: {chosen} (unet plan DATA prints the reasons; flags override the plan)"


def print_plan(plan: TrainingPlan) -> None:
    """Prints a table of the choices with their reasons."""
    rows = [(_flag(choice.name), _text(choice), choice.reason) for choice in plan.choices]
    print_table("the training that unet train would start", ("flag", "value", "why"), rows)
    figures = plan.figures
    size = "x".join(map(str, figures.median))
    console.print(
        f"{figures.images} training images with a median size of {size}, {figures.channels} channel(s), "
        f"{len(figures.class_names)} classes; {plan.network.graph.parameter_count:,} parameters"
        + ("" if plan.minutes is None else f"; about {_minutes(plan.minutes)}"),
        soft_wrap=True,
    )


def write_plan(out: Path, plan: TrainingPlan) -> None:
    """Writes the plan into a run's folder."""
    with writing(out / PLAN) as temporary:
        temporary.write_text(to_json(plan.to_dict()) + "\n", encoding="utf-8")


def given_flags(arguments: Collection[str]) -> tuple[str, ...]:
    """The flags of a command line as names of settings; `--no-mirror` and `--mirror` are both "mirror"."""
    names = [a.split("=")[0].removeprefix("--").replace("-", "_") for a in arguments if a.startswith("--")]
    settings_names = set(TrainSettings().to_dict()) | {field.name for field in dataclasses.fields(NetworkFlags)}
    settings_names |= set(TrainSettings().to_dict()["augmentation"])
    return tuple(name if name in settings_names else name.removeprefix("no_") for name in names)


def _minutes(minutes: float) -> str:
    return f"{60 * minutes:.0f} seconds" if minutes < 3 else f"{minutes:.0f} minutes"


def _flag(name: str) -> str:
    return name if name in STAGED else f"--{name.replace('_', '-')}"


def _text(choice: Choice) -> str:
    """The value as the flag takes it."""
    value = choice.value
    if choice.name == "tile":
        return text_of(value)
    if isinstance(value, tuple):
        return " ".join(map(text_of, value))
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
