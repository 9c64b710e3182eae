"""Join checkpoints of one network into one, whose probabilities are the mean of theirs.

RUNS are checkpoints, runs (the best/ of each is taken) or one folder with the runs fold-1, fold-2, … of a
cross-validation. Every command takes the result: predict, evaluate, calibrate, export, check. It costs as much work as
all of its members. Members may differ in the mean and standard deviation that they normalise images by: each is given
its own images. They must not differ in the network, its classes, or how files are read.

Example: unet ensemble runs/em -o ensemble
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unet_spec import Checkpoint, InputError
from unet_spec.weights.ensemble import join
from unet_spec.weights.model_card import CARD, model_card

from ..arguments.members import find_members
from ..arguments.networks import named_network, network_name
from ..console import console, notes, print_json


@dataclass(frozen=True)
class Args:
    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Checkpoints, runs or names of installed networks, or the folder of a cross-validation."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The checkpoint folder to write; replaced if it is one."""
    licence: str | None = None
    """Of the weights, for the model card, such as cc-by-4.0."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> int:
    paths = find_members(tuple(map(named_network, args.runs)))
    if clash := [path for path in paths if args.out.resolve() in (path.resolve(), *path.resolve().parents)]:
        raise InputError(f"{args.out} holds the member {clash[0]}; choose another folder for the ensemble")
    members = [Checkpoint.load(path) for path in paths]
    joined = join(members, paths)
    for note in joined.notes:
        notes.print(note, soft_wrap=True)
    config = joined.checkpoint.config
    joined.checkpoint.save(args.out, {CARD: model_card(config, joined.checkpoint.data, args.licence)})
    if args.json:
        print_json(
            {"members": [str(path) for path in paths], "out": str(args.out), "parameters": config.graph.parameter_count}
        )
        return 0
    for path in paths:
        console.print(f"  {path}", soft_wrap=True)
    console.print(
        f"{args.out}: the mean of these {len(paths)} networks ({network_name(members[0].config)}, "
        f"{config.graph.parameter_count:,} parameters in all)",
        soft_wrap=True,
    )
    console.print(f"next: unet predict {args.out} IMAGE -o OUT", soft_wrap=True)
    return 0
