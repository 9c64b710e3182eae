"""Combine checkpoints of one network into an ensemble that averages their probabilities.

RUNS are checkpoints, runs (the best/ of each is used) or one folder with the runs fold-1, fold-2, … of a
cross-validation. The ensemble is a checkpoint, and works with every command: predict, evaluate, export, check. It costs
as much time as all of its members together. Members must have the same network, the same classes and the same way of
reading files. Their means and standard deviations for normalisation may differ: each member normalises images by its
own. If they clip images to different limits (--normalization ct), the ensemble clips to the narrowest.

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
    """Members: checkpoints, runs or names of installed networks; or the folder of a cross-validation."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The checkpoint folder to write. An existing checkpoint is replaced."""
    licence: str | None = None
    """Licence of the weights, for the model card, such as cc-by-4.0."""
    json: bool = False
    """Print the result as JSON."""


def run(args: Args) -> int:
    paths = find_members(tuple(map(named_network, args.runs)))
    if clash := [path for path in paths if args.out.resolve() in (path.resolve(), *path.resolve().parents)]:
        raise InputError(f"{args.out} holds the member {clash[0]}; choose another folder for the ensemble")
    members = [Checkpoint.load(path) for path in paths]
    joined = join(members, paths)
    for note in joined.notes:
        notes.print(note)
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
