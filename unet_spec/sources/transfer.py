"""Converts other projects' tensors to ours, and ours to theirs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..network import NetworkConfig
from ..weights.check import differences, first_few, listed
from ..weights.weight_map import entries, rearrange
from . import keras, monai, nnunet, plain
from .origin import Origin
from .shapes import Shapes
from .table import Constants, Table, tables

Infer = Callable[[Shapes, Mapping[str, Any]], NetworkConfig]


@dataclass(frozen=True)
class Imported:
    """A checkpoint of another project: our config of its network, its tensors with our names and axes, and the rest of
    the file."""

    config: NetworkConfig
    tensors: dict[str, np.ndarray]
    origin: Origin


READERS: dict[str, tuple[Infer, Callable[[Any], Constants]]] = {
    "nnunet": (nnunet.infer, nnunet.constants),
    "milesial": (plain.infer_milesial, plain.no_constants),
    "brain-segmentation": (plain.infer_brain, plain.last_stage),
    "monai-basicunet": (monai.infer_basic, plain.last_stage),
    "monai-dynunet": (monai.infer_dynunet, monai.dynunet_constants),
    "keras": (keras.infer, keras.constants),
    "smp": (plain.infer_smp, plain.no_constants),
    "monai-unet": (monai.infer_unet, monai.unet_constants),
    "monai-attentionunet": (monai.infer_attention, plain.last_stage),
}
"""For each table, the function that infers the network from the tensors' shapes, and the function that returns the
numbers for the table's rows."""


def names() -> tuple[str, ...]:
    """The names of the sources, for `--to`."""
    return tuple(tables())


def has_marks(source: str, names: Collection[str]) -> bool:
    """Whether the tensors' names have all marks of a source, one of `names()`."""
    return not tables()[source].missing_marks(names)


def recognise(tensors: Mapping[str, Any], where: str) -> str:
    """The source whose marks are all among the tensors. Raises InputError, which names the nearest source and the
    missing marks."""
    for name, table in tables().items():
        if not table.missing_marks(tensors):
            return name
    nearest = min(tables().values(), key=lambda t: len(t.missing_marks(tensors)) / len(t.marks))
    missing = nearest.missing_marks(tensors)
    hint = f"it has {first_few(tensors)}" if tensors else "it contains no tensors"
    if len(missing) < len(nearest.marks):
        hint = f"nearest is {nearest.source} ({nearest.title}), of which {first_few(missing, 1)} is missing"
    raise InputError(
        f"{where}: neither the weights of a network of this project nor of another supported project; {hint}"
    )


def import_tensors(source: str, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any], where: str) -> Imported:
    """Converts another project's tensors to ours, bit for bit. All tensors are used.

    Args:
        source: one of `names()`.
        tensors: tensors with the file's names and axes.
        metadata: the rest of the file and of its folder; each source uses the entries that it knows. "extra" is stored
            in the origin, to be written back.
        where: the file, for messages.

    Raises:
        InputError: tensors are missing or not expected, have another shape or dtype, or copies of a tensor differ.
    """
    table = _table(source, where)
    infer, constants = READERS[source]
    shapes = Shapes({name: tuple(t.shape) for name, t in tensors.items()}, f"{where}, as {source}")
    try:
        config = infer(shapes, metadata)
    except InputError as e:  # the message of a config does not name the file
        raise (e if str(e).startswith(where) else shapes.refuse(str(e))) from None
    their_names = table.names(config.graph, constants(config))
    if problems := _problems(table, config, their_names, tensors):
        raise InputError(f"{where}: not the tensors of {table.title}; {'; '.join(problems)}")
    counters, copies = _counters(their_names), [name for group in their_names.values() for name in group[1:]]
    origin = Origin(
        source,
        {name: int(tensors[name]) for name in counters if name in tensors},
        tuple(name for name in (*copies, *counters) if name not in tensors),
        dict(metadata.get("extra", {})),
    )
    first = {ours: tensors[group[0]] for ours, group in their_names.items()}
    return Imported(config, _in_axes(table, config, first, inward=True), origin)


def export_tensors(
    config: NetworkConfig,
    tensors: Mapping[str, np.ndarray],
    origin: Origin | str,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, np.ndarray]:
    """Converts our tensors to another project's names and axes: the inverse of `import_tensors`, bit for bit.

    Args:
        config, tensors: our network.
        origin: origin of the import, or the name of a source for weights that were not imported.
        metadata: metadata of the folder to which the file is written, as for `import_tensors`.

    Raises:
        InputError: the source has no such network, or would read the result as another network.
    """
    origin = Origin(origin) if isinstance(origin, str) else origin
    table = _table(origin.source, "export")
    infer, constants = READERS[origin.source]
    try:
        their_names = table.names(config.graph, constants(config))
    except (ValueError, KeyError, AttributeError, IndexError):
        raise InputError(
            f"{table.title} is no {config.architecture} like this one; it cannot be written as that"
        ) from None
    arranged = _in_axes(table, config, tensors, inward=False)
    theirs = {name: arranged[ours] for ours, group in their_names.items() for name in group}
    theirs |= {name: np.array(origin.counters.get(name, 0), np.int64) for name in _counters(their_names)}
    theirs = {name: tensor for name, tensor in theirs.items() if name not in origin.absent}
    shapes = Shapes({name: tuple(t.shape) for name, t in theirs.items()}, f"written as {origin.source}")
    read = infer(shapes, {**origin.extra, **(metadata or {})})
    if read.graph != config.graph:
        old, new = config.to_dict(), read.to_dict()
        changes = [
            f"{key} is {old[key]} and would be read as {new.get(key)}" for key in old if old[key] != new.get(key)
        ]
        raise InputError(f"{table.title} is a different network: {first_few(changes)}")
    return theirs


def _table(source: str, where: str) -> Table:
    if source not in READERS:
        raise InputError(f"{where}: unknown source {source!r}; known: {', '.join(READERS)}")
    return tables()[source]


def _is_of(dtype: np.dtype, kinds: str) -> bool:
    return dtype.kind in kinds or (dtype.name == "bfloat16" and "f" in kinds)  # NumPy has no kind for it


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and (a is b or a.tobytes() == b.tobytes())


def _counters(their_names: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The names of the update counts of PyTorch's batch norms, which are not used if the momentum is fixed."""
    ends = ("running_mean", "num_batches_tracked")
    return [n.removesuffix(ends[0]) + ends[1] for group in their_names.values() for n in group if n.endswith(ends[0])]


def _problems(
    table: Table, config: NetworkConfig, their_names: Mapping[str, tuple[str, ...]], tensors: Mapping[str, np.ndarray]
) -> list[str]:
    """The differences between these tensors and the network's, by kind, with the first few names of each."""
    flax = {e.pytorch: e.flax_shape for e in entries(config.graph)} if table.layout == "keras" else {}
    shapes = {name: param.shape for name, param in config.graph.params.items()} | flax
    expected = {name: shapes[ours] for ours, group in their_names.items() for name in group}
    kinds = dict.fromkeys(expected, "f") | dict.fromkeys(_counters(their_names), "iu")
    problems = {
        # Copies and counters may be missing.
        "missing": [group[0] for group in their_names.values() if group[0] not in tensors],
        "with another dtype": [
            f"{name} {tensors[name].dtype}"
            for name, kind in kinds.items()
            if name in tensors and not _is_of(tensors[name].dtype, kind)
        ],
        "not copies of one tensor, as expected": [
            f"{group[0]} and {name}"
            for group in their_names.values()
            for name in group[1:]
            if name in tensors and group[0] in tensors and not _same(tensors[name], tensors[group[0]])
        ],
    }
    return listed(differences(expected | dict.fromkeys(_counters(their_names), ()), tensors) | problems)


def _in_axes(
    table: Table, config: NetworkConfig, tensors: Mapping[str, np.ndarray], inward: bool
) -> dict[str, np.ndarray]:
    """Contiguous copies, with axes in our order (`inward`) or in the table's. Keras has Flax's order."""
    if table.layout == "pytorch":
        return {name: np.array(tensors[name], order="C", copy=True) for name in config.graph.params}
    pairs = {e.pytorch: (e.flax_axes, e.pytorch_axes) for e in entries(config.graph)}
    return {name: rearrange(tensors[name], *(axes if inward else axes[::-1])) for name, axes in pairs.items()}
