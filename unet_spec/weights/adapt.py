"""Uses the weights of a network to initialise another one with other channels or classes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..network import NetworkConfig
from .check import first_few
from .checkpoint import Checkpoint
from .data_spec import DataSpec
from .randomize import initial_tensors


@dataclass(frozen=True)
class Adapted:
    """A checkpoint of the new network, and its tensors that are initialised at random.

    Attributes:
        checkpoint: has the tensors of the old network whose name and shape occur in the new one, and initial values for
            the others.
        fresh: names of the tensors with initial values.
        note: a line about the tensors that were used, and about other settings; None if all were used and no setting
            differs.
        settings: settings that change what the same tensors compute, as "name new (was old)".
    """

    checkpoint: Checkpoint
    fresh: tuple[str, ...]
    note: str | None
    settings: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """Two lines: the number of tensors that were used, and the layers that were not."""
        count, layers = len(self.checkpoint.tensors), _layers(self.fresh)
        taken = f"{count - len(self.fresh)} of {count} tensors used"
        taken += f", with other settings: {', '.join(self.settings)}" if self.settings else ""
        return [taken, f"{_count(layers)}: {first_few(layers)}" if layers else "no layer is initialised at random"]


def _layers(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name.rpartition(".")[0] for name in names))


def adapt(
    checkpoint: Checkpoint,
    *,
    in_channels: int | None = None,
    out_channels: int | None = None,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
) -> Adapted:
    """The checkpoint for other images or classes: layers that fit are used, the others are initialised at random.

    Args:
        checkpoint: checkpoint of any architecture.
        in_channels: channels of the new images. None: unchanged. Another number drops the stored normalisation, and
            how channels of files were read.
        out_channels: channels of the new logits. None: unchanged, or the number of `class_names`.
        class_names: names of the new classes. If they differ from the old ones, the layers whose shape depends on
            `out_channels` are initialised at random, even if the number of classes is the same. None: the old names,
            if the number of classes is the same.
        seed: random seed of the new layers' weights.

    Raises:
        InputError: the numbers of channels and class names do not match.

    Example:
        >>> from unet_spec import preset, random_tensors
        >>> config = preset("same", widths=(4, 8))
        >>> adapt(Checkpoint(config, random_tensors(config.graph, 0)), out_channels=5).fresh
        ('head.weight', 'head.bias')
    """
    old, data = checkpoint.config, checkpoint.data
    if class_names is not None and out_channels is None:
        fits = len(class_names) == data.class_count(old)
        out_channels = old.out_channels if fits else len(class_names)
    changes = {"in_channels": in_channels, "out_channels": out_channels}
    config = old.replace(**{name: value for name, value in changes.items() if value is not None})
    other_classes = class_names is not None and data.class_names != tuple(class_names)
    head = _head(old) if other_classes else frozenset()
    return _taken(checkpoint, config, class_names, head, seed)


def open_adapted(folder: Path, **changes: Any) -> Checkpoint:
    """The checkpoint of a folder. With changes, it is adapted (see `adapt`), with a warning about new layers."""
    checkpoint = Checkpoint.load(folder)
    if all(value is None for value in changes.values()):
        return checkpoint
    adapted = adapt(checkpoint, **changes)
    if adapted.note:
        warnings.warn(f"{folder}: {adapted.note}", stacklevel=3)
    return adapted.checkpoint


def take_weights(
    checkpoint: Checkpoint, config: NetworkConfig, seed: int = 0, class_names: Sequence[str] = ()
) -> Adapted:
    """The weights of a checkpoint for a network with another config of the same architecture: tensors with the same
    name and shape are used.

    Args:
        checkpoint: checkpoint of any architecture.
        config: config of the network.
        seed: random seed of the layers that do not fit.
        class_names: class names of the network. If the checkpoint has names and they differ, the layers whose shape
            depends on the number of classes are initialised at random. Empty: names are not compared.

    Raises:
        InputError: the architecture differs, or no layer fits.

    Example:
        >>> from unet_spec import preset, random_tensors
        >>> old = preset("same", widths=(4, 8))
        >>> taken = take_weights(Checkpoint(old, random_tensors(old.graph, 0)), old.replace(out_channels=5))
        >>> taken.note
        '32 of 34 tensors used; 1 layer is initialised at random (head)'
    """
    if config.architecture != checkpoint.config.architecture:
        raise InputError(
            f"the weights are for the architecture {checkpoint.config.architecture!r}, the network is "
            f"{config.architecture!r}; no tensor fits"
        )
    known = checkpoint.data.class_names
    other_classes = bool(known and class_names) and known != tuple(class_names)
    return _taken(checkpoint, config, None, _head(checkpoint.config) if other_classes else frozenset(), seed)


def _taken(
    checkpoint: Checkpoint,
    config: NetworkConfig,
    class_names: Sequence[str] | None,
    reset: frozenset[str],
    seed: int,
) -> Adapted:
    old, data = checkpoint.config, checkpoint.data
    dtype = next(iter(checkpoint.tensors.values())).dtype
    tensors = initial_tensors(config.graph, seed, dtype)
    fresh = tuple(n for n, t in tensors.items() if n in reset or not _same_shape(checkpoint.tensors.get(n), t))
    if len(fresh) == len(tensors):
        raise InputError("no layer of the weights has the shape that the network has; the widths must be equal")
    tensors |= {name: checkpoint.tensors[name] for name in tensors if name not in fresh}
    dropped = []
    if config.in_channels != old.in_channels and data.mean:
        kind = "none" if data.normalization == "ct" else data.normalization
        data = replace(data, mean=(), std=(), low=(), high=(), normalization=kind)
        dropped = ["the normalisation"]
    if class_names is not None:
        data = replace(data, class_names=tuple(class_names))
    elif len(data.class_names) != data.class_count(config) and data.class_names:
        data, dropped = replace(data, class_names=()), [*dropped, "the class names"]
    other_classes = (config.out_channels, data.class_names) != (old.out_channels, checkpoint.data.class_names)
    data, unread = _reading(data, config.in_channels != old.in_channels, other_classes)
    dropped += unread
    data.check(config, "the new network")
    layers = _layers(fresh)
    new = [f"{_count(layers)} ({first_few(layers)})"] if fresh else []
    new += [f"not used: {' and '.join(dropped)}"] if dropped else []
    settings = _settings(old.to_dict(), config.to_dict())
    new += [f"other settings: {', '.join(settings)}"] if settings else []
    note = f"{len(tensors) - len(fresh)} of {len(tensors)} tensors used; {'; '.join(new)}" if new else None
    return Adapted(Checkpoint(config, tensors, data), fresh, note, settings)


def _settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """Numbers and names that differ, but for those that the tensors show, and dropout, which is off in use."""
    known = {"in_channels", "out_channels", "widths", "distance_head", "dropout"}
    plain = [name for name in new if name not in known and isinstance(old.get(name), str | int | float)]
    differ = (name for name in plain if old[name] != new[name])
    return tuple(f"{name} {new[name]} (was {old[name]})" for name in differ)


def _reading(data: DataSpec, other_channels: bool, other_classes: bool) -> tuple[DataSpec, list[str]]:
    """The data spec without the settings of reading files that hold for other channels or classes; and their names."""
    changes, names = {}, []
    if other_channels and (data.reading or {}).get("channels", "auto") != "auto":
        changes["channels"], names = "auto", [*names, "how channels were read"]
    if other_classes and (data.reading or {}).get("class_colors"):
        changes["class_colors"], names = "", [*names, "the colours of the classes"]
    data = replace(data, reading={**(data.reading or {}), **changes}) if changes else data
    if other_classes and data.labels:
        data, names = replace(data, labels=None), [*names, "the numbers of the classes"]
    return data, names


def _head(config: NetworkConfig) -> frozenset[str]:
    """Names of the tensors whose shapes depend on the number of output channels."""
    more = config.replace(out_channels=config.out_channels + 1).graph.params
    return frozenset(name for name, p in config.graph.params.items() if name in more and more[name].shape != p.shape)


def _same_shape(old: np.ndarray | None, new: np.ndarray) -> bool:
    return old is not None and old.shape == new.shape


def _count(layers: Sequence[str]) -> str:
    return "1 layer is initialised at random" if len(layers) == 1 else f"{len(layers)} layers are initialised at random"
