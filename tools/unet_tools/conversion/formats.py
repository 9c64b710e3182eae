"""Converts weights between files and checkpoints: reads, recognises, renames by a table, writes.

checkpoint   our folder: config.json and model.safetensors
pytorch      a state_dict of ours in a .pt or .pth file, for torch.load; nothing but tensors is unpickled
safetensors  the same tensors in one .safetensors file, with the config in its metadata
orbax        an Orbax checkpoint: a folder, as JAX programs save it; one without our config needs a preset
flax         the same under Flax's names and axes ("encoder.0.conv1.kernel", H W I O)
nnunet, …    another project's file, by the rename tables of `unet_spec.sources`
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from unet_spec import Checkpoint, DataSpec, InputError, NetworkConfig, UNetConfig, check_tensors, sources
from unet_spec.sources import Imported, Origin
from unet_spec.sources.origin import FILE
from unet_spec.untrusted.strict_json import parse_json
from unet_spec.weights.weight_map import entries, to_flax, to_pytorch

from .assumed import assumptions
from .folders import has_weights, is_ours
from .framework_exports import kind_of
from .tensor_files import Tensors, read_files, write_file

Format = Literal[
    "checkpoint",
    "pytorch",
    "safetensors",
    "flax",
    "orbax",
    "brain-segmentation",
    "keras",
    "milesial",
    "monai-attentionunet",
    "monai-basicunet",
    "monai-dynunet",
    "monai-unet",
    "nnunet",
    "smp",
]
OURS: tuple[Format, ...] = ("checkpoint", "pytorch", "safetensors", "flax", "orbax")
_Stored = tuple[NetworkConfig, DataSpec]


@dataclass(frozen=True)
class Weights:
    """A checkpoint, its original format, other content of another project's file, and one line per decision made while
    reading."""

    checkpoint: Checkpoint
    form: Format
    origin: Origin | None = None
    notes: tuple[str, ...] = ()


def implied(path: Path) -> Format:
    """The format for writing to a file name. Raises InputError for the name of a file that only unet export writes."""
    if kind_of(path) is not None:
        raise InputError(f"{path}: unet convert writes weights; unet export CHECKPOINT -o {path} writes such a file")
    if path.suffix in (".pt", ".pth"):
        return "pytorch"
    return "safetensors" if path.suffix == ".safetensors" else "checkpoint"


def read(path: Path, form: Format | None, base: NetworkConfig, key: str | None = None) -> Weights:
    """Reads weights from a file or folder.

    Args:
        path: the file or folder.
        form: format; None: recognised by the tensors.
        base: the network if the file does not describe it. From a state_dict, widths, channels, dimensions, bias and
            norm follow from the tensors; padding, merging and similar settings are taken from `base`.
        key: entry or prefix in a file with several sets of weights.

    Raises:
        InputError: the file is missing or damaged, or its network is unknown.
    """
    if not path.exists():
        raise InputError(f"no such file or folder: {path}")
    if form == "orbax" or (form is None and _is_orbax(path)):
        from unet_jax.interop.orbax import CONFIG, load_orbax

        return Weights(load_orbax(path, None if (path / CONFIG).is_dir() else base), "orbax")
    if form == "checkpoint" or (form is None and path.is_dir() and (is_ours(path) or not has_weights(path))):
        return Weights(Checkpoint.load(path), "checkpoint", Origin.load(path))
    file = read_files(path, lambda names: is_known(names, form, base), key)
    tensors, metadata = file.tensors, file.metadata
    stored = _stored_config(metadata.pop("config", None), path)
    form = form or _recognise_ours(path, tensors, stored, base)
    if form is not None and form in OURS:
        checkpoint = _checkpoint(path, tensors, form, stored, base)
        weights = Weights(checkpoint, form, notes=tuple(file.notes))
        return weights if stored else with_assumptions(weights)
    imported = import_file(form, tensors, metadata, path)
    source: Any = imported.origin.source
    checkpoint = Checkpoint(imported.config, imported.tensors)
    return with_assumptions(Weights(checkpoint, source, imported.origin, tuple(file.notes)))


def is_known(names: Collection[str], form: str | None, base: NetworkConfig) -> bool:
    """Whether tensor names belong to a supported network; with `form`, to one of that format."""
    if form is not None and form not in OURS:
        return sources.has_marks(form, names)
    ours = {"encoder.0.conv1", "head"} <= {name.rpartition(".")[0] for name in names}
    if ours or next(iter(base.graph.params)) in names:
        return True
    return form is None and any(sources.has_marks(name, names) for name in sources.names())


def with_assumptions(weights: Weights) -> Weights:
    """Adds the assumptions about the weights to their data spec."""
    checkpoint = weights.checkpoint
    source = None if weights.origin is None else weights.origin.source
    data = replace(checkpoint.data, assumed=assumptions(checkpoint.config, source))
    return replace(weights, checkpoint=replace(checkpoint, data=data))


def write(weights: Weights, path: Path, form: Format) -> None:
    """Writes weights to a file or folder, atomically. Raises InputError."""
    checkpoint, origin = weights.checkpoint, weights.origin
    config, tensors = checkpoint.config, checkpoint.tensors
    if form == "checkpoint":
        checkpoint.save(path, {FILE: None if origin is None else origin.to_json()})
    elif form == "orbax":
        from unet_jax.interop.orbax import save_orbax

        save_orbax(checkpoint, path)
    elif path.is_dir():
        raise InputError(f"{path} is a folder; {form} writes one file")
    elif form not in OURS:
        export_file(checkpoint, origin if origin is not None and origin.source == form else Origin(form), path)
    elif form == "pytorch":
        write_file(path, tensors, {}, "pytorch")
    else:
        if form == "flax":
            flax = to_flax(config.graph, tensors)
            tensors = {".".join(e.flax): flax[e.flax] for e in entries(config.graph)}
        values = config.to_dict() | {"data": checkpoint.data.to_dict()}
        metadata = {"format": "flax" if form == "flax" else "pt", "config": json.dumps(values)}
        write_file(path, tensors, metadata, "safetensors")


def left_out(checkpoint: Checkpoint, form: Format) -> str | None:
    """One line with what a file of this format does not say of the network; None if it says everything."""
    data = checkpoint.data
    facts = {
        "normalisation": data.mean or data.normalization != "dataset",
        "class names": data.class_names,
        "that classes overlap": data.overlapping,
        "pixel size": data.spacing,
        "object settings": data.objects,
    }
    left = [fact for fact, known in facts.items() if known]
    if not left or (form in OURS and form != "pytorch"):
        return None
    return f"does not contain: {', '.join(left)}; keep the checkpoint, or convert to .safetensors, which does"


def import_file(
    source: str | None, tensors: Tensors, metadata: Mapping[str, Any], path: Path, **beside: Any
) -> Imported:
    """Converts another project's tensors to a network of this project.

    Args:
        source: the project, one of `unet_spec.sources.names()`; None: recognised by the tensors.
        tensors, metadata: from `read_files`. The metadata is kept for writing it back.
        path: for messages.
        beside: further data that the project stores in other files, such as nnU-Net's plans.

    Raises:
        InputError: the tensors do not match the project.
    """
    source = source or sources.recognise(tensors, str(path))
    return sources.import_tensors(source, tensors, {**metadata, **beside, "extra": metadata}, str(path))


def export_file(checkpoint: Checkpoint, origin: Origin, path: Path, **beside: Any) -> None:
    """Writes a file of the original project: tensors, counters and metadata. beside: as in `import_file`. Raises
    InputError."""
    write_file(path, sources.export_tensors(checkpoint.config, checkpoint.tensors, origin, beside), origin.extra)


def _is_orbax(path: Path) -> bool:
    return path.is_dir() and not (path / "config.json").exists() and any(path.glob("**/_METADATA"))


def _recognise_ours(path: Path, tensors: Tensors, stored: _Stored | None, base: NetworkConfig) -> Format | None:
    """The format of a file, if it is one of this project's; None for other tensor names."""
    form: Format = "safetensors" if path.suffix == ".safetensors" else "pytorch"
    if form == "safetensors" and any(name.endswith((".kernel", ".scale")) for name in tensors):
        return "flax"
    named = {"encoder.0.conv1.weight", "head.weight"} <= set(tensors) or next(iter(base.graph.params)) in tensors
    return form if named or stored is not None else None


def _checkpoint(path: Path, tensors: Tensors, form: Format, stored: _Stored | None, base: NetworkConfig) -> Checkpoint:
    tensors = {name: t for name, t in tensors.items() if not name.endswith("num_batches_tracked")}
    if form != "flax":
        config, data = stored or (_infer(base, {name: t.shape for name, t in tensors.items()}, path), DataSpec())
        check_tensors(config.graph, tensors, str(path))
        return Checkpoint(config, tensors, data)
    named = {tuple(name.split(".")): t for name, t in tensors.items()}
    if stored is None and ("encoder", "0", "conv1", "kernel") not in named:
        raise InputError(f"{path}: no encoder.0.conv1.kernel; these are not the weights of our Flax U-Net")
    # A Flax kernel is (*spatial, I, O), PyTorch's (O, I, *spatial).
    swapped = {
        name: (t.shape[-1], t.shape[-2], *t.shape[:-2]) if name.endswith("kernel") else t.shape
        for name, t in tensors.items()
    }
    config, data = stored or (_infer(base, swapped, path), DataSpec())
    return Checkpoint(config, to_pytorch(config.graph, named), data)


def _stored_config(text: str | None, path: Path) -> _Stored | None:
    """The config and data that `write` stored in a file's metadata; None for other metadata."""
    try:
        values = parse_json(text or "", path)
    except InputError:
        return None
    if not isinstance(values, dict):
        return None
    data = values.pop("data", {})
    return NetworkConfig.from_dict(values, str(path)), DataSpec.from_dict(data, str(path))


def _infer(base: NetworkConfig, shapes: Mapping[str, tuple[int, ...]], path: Path) -> NetworkConfig:
    """`base` with all settings that the tensors of a U-Net determine."""
    if not isinstance(base, UNetConfig):
        return base  # settings of other architectures are not inferred
    flat = {name.replace(".kernel", ".weight").replace(".scale", ".weight"): s for name, s in shapes.items()}
    first, head = flat.get("encoder.0.conv1.weight"), flat.get("head.weight")
    if first is None or head is None:
        raise InputError(f"{path}: not the weights of our U-Net, which has encoder.0.conv1 and head")
    widths = []
    while (shape := flat.get(f"encoder.{len(widths)}.conv1.weight")) is not None:
        widths.append(shape[0])
    transposed = "decoder.0.up.weight" in flat
    if not transposed:  # the bottleneck is as wide as the level above; by convention the config has twice that width
        widths[-1] = 2 * widths[-2] if len(widths) > 1 else widths[-1]
    norm = base.norm if "encoder.0.norm1.weight" in flat else "none"
    if "encoder.0.norm1.weight" in flat and base.norm == "none":
        statistics = any(name.endswith(("running_mean", ".mean")) for name in shapes)
        norm = "batch" if statistics else "group"
    return base.replace(
        in_channels=first[1],
        out_channels=head[0],
        widths=tuple(widths),
        spatial_dims=len(first) - 2,
        upsampling="transposed" if transposed else "bilinear",
        norm=norm,
        conv_bias="encoder.0.conv1.bias" in flat,
    )
