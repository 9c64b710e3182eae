"""Other projects' weights: recognised by their names, read into our networks, and written back tensor for tensor.

    name = recognise(tensors, where)
    imported = import_tensors(name, tensors, {}, where)
    Checkpoint(imported.config, imported.tensors).save(folder); imported.origin.save(folder)
    theirs = export_tensors(imported.config, imported.tensors, imported.origin)

Each source is a rename table (`*.toml`, interpreted by `table.py`) and a function that reads the network off the
tensors' shapes. Files are read elsewhere: here are arrays by name. Everything is bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_spec.errors import InputError
from unet_spec.network import NetworkConfig
from unet_spec.sources import keras, monai, nnunet, plain
from unet_spec.sources.origin import Origin
from unet_spec.sources.shapes import Shapes
from unet_spec.sources.table import Constants, Table, some, tables
from unet_spec.weight_map import entries, rearrange

Infer = Callable[[Shapes, Mapping[str, Any]], NetworkConfig]


@dataclass(frozen=True)
class Imported:
    """A checkpoint of another project: its network as a config of ours, its tensors under our names and in our axes,
    and what else it held."""

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
    "monai-attentionunet": (monai.infer_attention, monai.attention_constants),
}
"""For each table, what reads its networks and what gives the numbers that the table's rows name."""


def names() -> tuple[str, ...]:
    """The sources, as `--to` takes them."""
    return tuple(tables())


def recognise(tensors: Mapping[str, Any], where: str) -> str:
    """The source whose marks are all there. Raises InputError, naming the nearest one and what it lacks."""
    for name, table in tables().items():
        if not table.lacking(tensors):
            return name
    nearest = min(tables().values(), key=lambda t: len(t.lacking(tensors)) / len(t.marks))
    lacking = nearest.lacking(tensors)
    hint = ""
    if len(lacking) < len(nearest.marks):
        hint = f"; nearest is {nearest.source} ({nearest.title}), of which {some(lacking)} is missing"
    found = f"its tensors begin with {some(tensors)}" if tensors else "it holds no tensors"
    raise InputError(
        f"{where}: not the weights of our U-Net nor of another network known here ({found}){hint};"
        f" known: {', '.join(tables())}"
    )


def import_tensors(source: str, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any], where: str) -> Imported:
    """Another project's tensors as ours: every tensor in, none left over.

    Args:
        source: one of `names()`.
        tensors: as the file has them, names and axes.
        metadata: what else the file or its folder says; each source takes what it knows.
        where: for messages.

    Raises InputError: tensors missing, left over, of another shape; copies of one tensor that differ.
    """
    table = _table(source, where)
    infer, constants = READERS[source]
    shapes = Shapes({name: tuple(t.shape) for name, t in tensors.items()}, f"{where}, as {source}")
    try:
        config = infer(shapes, metadata)
    except InputError as e:  # a config's own says what is wrong, but not where
        raise (e if str(e).startswith(where) else shapes.refuse(str(e))) from None
    wanted = table.names(config.graph, constants(config))
    counters = _counters(wanted)
    if told := _problems(table, config, wanted, tensors):
        raise InputError(f"{where}: not the tensors of {table.title}; {'; '.join(told)}")
    further = [name for group in wanted.values() for name in group[1:]]
    origin = Origin(
        source,
        {name: int(tensors[name]) for name in counters if name in tensors},
        tuple(name for name in (*further, *counters) if name not in tensors),
        dict(metadata.get("extra", {})),
    )
    return Imported(config, _axes(table, config, {o: tensors[g[0]] for o, g in wanted.items()}, True), origin)


def export_tensors(
    config: NetworkConfig,
    tensors: Mapping[str, np.ndarray],
    origin: Origin | str,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, np.ndarray]:
    """Our tensors under another project's names and axes; the inverse of `import_tensors`, bit for bit.

    `origin` is what the import gave, or a source's name for weights that never came from there; `metadata` is what will
    lie beside the file, as for `import_tensors`. Raises InputError where the network is none that the source can have:
    what is written must be read as the same network again.
    """
    origin = Origin(origin) if isinstance(origin, str) else origin
    table = _table(origin.source, "export")
    infer, constants = READERS[origin.source]
    try:
        wanted = table.names(config.graph, constants(config))
    except (ValueError, KeyError, AttributeError, IndexError):
        raise InputError(
            f"{table.title} is no {config.architecture} like this one; it cannot be written as that"
        ) from None
    arranged = _axes(table, config, tensors, False)
    theirs = {name: arranged[ours] for ours, group in wanted.items() for name in group if name not in origin.absent}
    theirs |= {
        name: np.array(origin.counters.get(name, 0), np.int64)
        for name in _counters(wanted)
        if name not in origin.absent
    }
    where = f"written as {origin.source}"
    read = infer(
        Shapes({name: tuple(t.shape) for name, t in theirs.items()}, where), {**origin.extra, **(metadata or {})}
    )
    if read.graph != config.graph:
        old, new = config.to_dict(), read.to_dict()
        told = [f"{key} is {old[key]} and would be read as {new.get(key)}" for key in old if old[key] != new.get(key)]
        raise InputError(f"{table.title} is another network than this one: {some(told)}")
    return theirs


def _table(source: str, where: str) -> Table:
    if source not in READERS:
        raise InputError(f"{where}: no source is called {source!r}; there are {', '.join(READERS)}")
    return tables()[source]


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and (a is b or a.tobytes() == b.tobytes())


def _counters(names: Mapping[str, tuple[str, ...]]) -> list[str]:
    """PyTorch's batch norms count their updates, which a fixed momentum never reads."""
    ends = ("running_mean", "num_batches_tracked")
    return [n.removesuffix(ends[0]) + ends[1] for group in names.values() for n in group if n.endswith(ends[0])]


def _problems(
    table: Table, config: NetworkConfig, wanted: Mapping[str, tuple[str, ...]], tensors: Mapping[str, np.ndarray]
) -> list[str]:
    """What keeps the tensors from being exactly those of the network, each kind with the first few names."""
    shapes = _their_shapes(table, config)
    expected: dict[str, tuple[int, ...]] = {name: shapes[ours] for ours, group in wanted.items() for name in group}
    expected |= dict.fromkeys(_counters(wanted), ())
    numbers = {name: "iu" if name.endswith("num_batches_tracked") else "f" for name in expected}
    there = [name for name in expected if name in tensors]
    found = {
        "missing": [group[0] for group in wanted.values() if group[0] not in tensors],
        "not part of this network": [name for name in tensors if name not in expected],
        "of another shape": [
            f"{name} {tuple(tensors[name].shape)}, not {expected[name]}"
            for name in there
            if tuple(tensors[name].shape) != expected[name]
        ],
        "of another dtype": [
            f"{name} {tensors[name].dtype}" for name in there if tensors[name].dtype.kind not in numbers[name]
        ],
        "no copies of one tensor, as they should be": [
            f"{group[0]} and {name}"
            for group in wanted.values()
            for name in group[1:]
            if name in tensors and group[0] in tensors and not _same(tensors[name], tensors[group[0]])
        ],
    }
    return [f"{len(names)} {what}: {some(names)}" for what, names in found.items() if names]


def _their_shapes(table: Table, config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    if table.layout == "keras":
        return {e.pytorch: e.flax_shape for e in entries(config.graph)}
    return {name: param.shape for name, param in config.graph.params.items()}


def _axes(
    table: Table, config: NetworkConfig, tensors: Mapping[str, np.ndarray], inward: bool
) -> dict[str, np.ndarray]:
    """Contiguous copies, with their axes in our order (`inward`) or in the table's. Keras has Flax's."""
    if table.layout == "pytorch":
        return {name: np.array(tensors[name], order="C", copy=True) for name in config.graph.params}
    pairs = {e.pytorch: (e.flax_axes, e.pytorch_axes) for e in entries(config.graph)}
    return {name: rearrange(tensors[name], *(axes if inward else axes[::-1])) for name, axes in pairs.items()}


__all__ = ["Imported", "Origin", "export_tensors", "import_tensors", "names", "recognise"]
