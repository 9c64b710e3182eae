"""Facts that tensors do not state, such as normalisation, and the assumptions about them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from unet_spec import Checkpoint, DataSpec, InputError, NetworkConfig, check_tensors
from unet_spec.untrusted.strict_json import parse_json

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_UNSEEN = ("padding", "merge", "activation", "slope", "align_corners", "norm_eps")
_OPTIONS = {
    "normalisation": "--mean --std",
    "class names": "--class-names",
    "classes": "--classes",
    "network": "--set",
}
_SMP = " (smp's encoders mostly take imagenet)"


def assumptions(config: NetworkConfig, source: str | None) -> tuple[str, ...]:
    """The assumptions about a network whose file contained only tensors, one line each: "subject: value".

    Args:
        config: The network.
        source: The project whose default values are assumed; None: those of the preset or config.
    """
    values = config.to_dict()
    unseen = [f"{name} {values[name]}" for name in _UNSEEN if name in values]
    return (
        "normalisation: none" + (_SMP if source == "smp" else ""),
        "class names: none",
        *(["classes: one per pixel"] if config.out_channels > 1 else []),
        "network: "
        + ", ".join([*unseen, *([f"padding and interpolation: the usual ones of {source}"] if source else [])]),
    )


def describe(data: DataSpec, where: str) -> str | None:
    """One line with the remaining assumptions and the options of `unet convert` that replace them; None if there are
    none."""
    if not data.assumed:
        return None
    lines = [f"{line} [{_OPTIONS.get(line.partition(':')[0], 'unet convert')}]" for line in data.assumed]
    return f"{where}: assumed, since the file does not state it: {'; '.join(lines)}"


def stated(
    checkpoint: Checkpoint,
    mean: Sequence[str],
    std: Sequence[str],
    class_names: Sequence[str],
    classes: Literal["exclusive", "overlapping"] | None,
    fields: Sequence[str],
) -> Checkpoint:
    """Replaces assumptions about a checkpoint by the user's statements.

    Args:
        checkpoint: The checkpoint.
        mean, std: Numbers, or "imagenet", or "none"; empty: not stated.
        class_names: Names of the classes; empty: not stated.
        classes: "exclusive" or "overlapping"; None: not stated.
        fields: NAME=VALUE of the network's config.

    Raises:
        InputError: Invalid values for the network.
    """
    statements, data, config = set(), checkpoint.data, checkpoint.config
    if mean or std:
        if not (mean and std):
            raise InputError("give --mean and --std together")
        means, stds = _numbers(mean, "mean", config), _numbers(std, "std", config)
        if len(means) != len(stds):
            raise InputError(f"--mean has {len(means)} numbers, --std {len(stds)}; they must have the same count")
        plain = {"normalization": "dataset", "low": [], "high": []}
        data = DataSpec.from_dict(data.to_dict() | plain | {"mean": list(means), "std": list(stds)}, "--mean, --std")
        statements.add("normalisation")
    if classes is not None:
        data = replace(data, overlapping=classes == "overlapping")
        statements.add("classes")
    if class_names:
        data = replace(data, class_names=tuple(class_names))
        statements.add("class names")
    for field in fields:
        name, equals, text = field.partition("=")
        if not equals:
            raise InputError(f"--set {field}: give NAME=VALUE, such as padding=same")
        try:
            value = parse_json(text, "--set")
        except InputError:
            value = text
        config = config.replace(**{name: value})
        statements.add("network")
    if fields:
        check_tensors(config.graph, checkpoint.tensors, "--set")
    data = replace(data, assumed=tuple(line for line in data.assumed if line.partition(":")[0] not in statements))
    data.check(config, "convert")
    return replace(checkpoint, config=config, data=data)


def _numbers(texts: Sequence[str], kind: Literal["mean", "std"], config: NetworkConfig) -> tuple[float, ...]:
    if list(texts) == ["none"]:
        return ()
    if list(texts) == ["imagenet"]:
        if config.in_channels != 3:
            raise InputError(f"--{kind} imagenet is for 3 channels; this network has {config.in_channels}")
        return IMAGENET[kind]
    try:
        values = tuple(float(text) for text in texts)
    except ValueError:
        raise InputError(f"--{kind} {' '.join(texts)}: give numbers, imagenet or none") from None
    if not all(map(math.isfinite, values)) or len(values) not in (1, config.in_channels):
        raise InputError(f"--{kind} needs one finite number, or one for each of the {config.in_channels} channels")
    return values * (config.in_channels if len(values) == 1 else 1)
