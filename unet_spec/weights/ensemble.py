"""Joins several checkpoints of one network into an ensemble, whose probabilities are the mean of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..families.ensemble import EnsembleConfig
from .checkpoint import Checkpoint
from .data_spec import DataSpec

_OWN = ("mean", "std", "low", "high", "objects", "assumed", "labels")
"""Fields of the data spec in which members may differ."""


@dataclass(frozen=True)
class Joined:
    """An ensemble, and notes on differences between its members.

    Attributes:
        checkpoint: checkpoint of the ensemble.
        notes: a line for each decision.
    """

    checkpoint: Checkpoint
    notes: tuple[str, ...] = ()


def join(checkpoints: Sequence[Checkpoint], names: Sequence[object] = ()) -> Joined:
    """The ensemble of checkpoints of one network, trained for the same classes.

    The ensemble prepares images as the first member does. If another member has a different mean and standard
    deviation, its input is converted by x' = x · s₀ / s + (m₀ − m) / s per channel, in the graph before the member's
    first layer. So zero padding has the same meaning as in the member alone, and the result equals that of the member
    alone up to rounding. If members clip to different limits ("ct"), the ensemble clips to the narrowest, so that no
    member gets values that it was not trained with; results then differ where pixels are beyond these.

    Args:
        checkpoints: one or more. Their tensors are not copied.
        names: names of the checkpoints, for messages.

    Raises:
        InputError: there is no checkpoint, or checkpoints differ in network, classes or preparation of images.

    Example:
        >>> from unet_spec import preset, random_tensors
        >>> config = preset("same", widths=(4, 8))
        >>> members = [Checkpoint(config, random_tensors(config.graph, seed)) for seed in range(3)]
        >>> joined = join(members)
        >>> joined.checkpoint.config.members, joined.checkpoint.config.member == config
        (3, True)
    """
    if not checkpoints:
        raise InputError("an ensemble needs at least one checkpoint")
    names = [str(name) for name in names] or [f"checkpoint {number}" for number in range(len(checkpoints))]
    first = checkpoints[0]
    for name, each in zip(names[1:], checkpoints[1:], strict=True):
        _check_network(first, each, names[0], name)
        _check_data(first.data, each.data, names[0], name)
    config = EnsembleConfig.of(first.config, len(checkpoints), first.data.overlapping)
    tensors: dict[str, np.ndarray] = {}
    for number, each in enumerate(checkpoints):
        dtype = next(iter(each.tensors.values())).dtype
        weight, bias = _renormalised(first.data, each.data, config.in_channels)
        tensors |= {f"scales.{number}.weight": weight.astype(dtype), f"scales.{number}.bias": bias.astype(dtype)}
        tensors |= {f"members.{number}.{name}": tensor for name, tensor in each.tensors.items()}
    dtype = next(iter(first.tensors.values())).dtype
    tensors |= {"head.weight": np.ones(config.out_channels, dtype), "head.bias": np.zeros(config.out_channels, dtype)}
    data, notes = _joined_data([each.data for each in checkpoints])
    return Joined(Checkpoint(config, {name: tensors[name] for name in config.graph.params}, data), notes)


def _check_network(one: Checkpoint, other: Checkpoint, name: str, where: str) -> None:
    mine, theirs = one.config.to_dict(), other.config.to_dict()
    if mine != theirs:
        key = next(k for k in [*mine, *theirs] if mine.get(k) != theirs.get(k))
        raise InputError(
            f"{where}: its {key} is {theirs.get(key)}, that of {name} {mine.get(key)}; all members must "
            "have the same network"
        )


def _check_data(one: DataSpec, other: DataSpec, name: str, where: str) -> None:
    for each in fields(DataSpec):
        mine, theirs = getattr(one, each.name), getattr(other, each.name)
        if each.name not in _OWN and mine != theirs and not (mine != mine and theirs != theirs):  # NaN equals NaN
            raise InputError(
                f"{where}: its {each.name.replace('_', ' ')} is {_text(theirs)}, that of {name} "
                f"{_text(mine)}; all members must prepare images alike and have the same classes"
            )
    if not _clipped_alike(one, other):
        raise InputError(
            f"{where}: it clips images to {_text(other.low)} … {_text(other.high)}, {name} to {_text(one.low)} … "
            f"{_text(one.high)}; all members must prepare images alike"
        )
    if one.nodata is not None and (one.mean, one.std) != (other.mean, other.std):
        raise InputError(
            f"{where}: has another mean and standard deviation than {name}, and pixels without data become 0 in both, "
            "which one normalisation cannot give; train the members with --normalization image, percentile or none"
        )


def _clipped_alike(one: DataSpec, other: DataSpec) -> bool:
    """Whether both clip images or neither does, and their limits have three quarters of the wider range in common."""
    if len(one.low) != len(other.low):
        return False
    limits = zip(one.low, one.high, other.low, other.high, strict=True)
    return all(4 * (min(b, d) - max(a, c)) >= 3 * max(b - a, d - c) for a, b, c, d in limits)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) or "empty" if isinstance(value, tuple) else str(value)


def _renormalised(one: DataSpec, other: DataSpec, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias per channel, float64, that convert images normalised for `one` to those for `other`."""
    zeros, ones = np.zeros(channels), np.ones(channels)
    mean, std = np.asarray(one.mean or zeros, np.float64), np.asarray(one.std or ones, np.float64)
    own_mean, own_std = np.asarray(other.mean or zeros, np.float64), np.asarray(other.std or ones, np.float64)
    return std / own_std, (mean - own_mean) / own_std


def _joined_data(specs: Sequence[DataSpec]) -> tuple[DataSpec, tuple[str, ...]]:
    first, notes = specs[0], []
    differ = len({(spec.mean, spec.std) for spec in specs}) > 1
    if differ:
        notes.append("members differ in mean and standard deviation; each member normalises images by its own")
    low = tuple(map(max, zip(*(spec.low for spec in specs), strict=True)))
    high = tuple(map(min, zip(*(spec.high for spec in specs), strict=True)))
    if any((spec.low, spec.high) != (low, high) for spec in specs):
        notes.append(
            "members clip images to different limits; the ensemble clips to the narrowest: "
            f"{_text(low)} … {_text(high)}"
        )
    objects = first.objects
    if any(spec.objects != objects for spec in specs):
        objects = None
        notes.append(
            "members have different object settings, so the ensemble has the defaults; unet evaluate "
            "--choose-objects chooses settings and stores them"
        )
    assumed = tuple(dict.fromkeys(line for spec in specs for line in spec.assumed))
    labels = first.labels
    if any(spec.labels != labels for spec in specs):
        labels = None
        notes.append(
            "members were trained on label files with different numbers, so the ensemble stores none: unet evaluate "
            "needs --labels, --ignore and --class-numbers where the defaults do not fit"
        )
    return replace(first, objects=objects, assumed=assumed, labels=labels, low=low, high=high), tuple(notes)
