"""The formats that weights come in: read into tensors under the spec's names, and written from them.

checkpoint   our folder: config.json and model.safetensors
pytorch      a state_dict of ours in a .pt or .pth file, for torch.load; nothing but tensors is unpickled
safetensors  the same tensors in one .safetensors file, with the config in its metadata
orbax        an Orbax checkpoint: a folder, as JAX programs save it; one without our config needs a preset
flax         the same under Flax's names and axes ("encoder.0.conv1.kernel", H W I O)
nnunet, …    another project's file, by the rename tables of `unet_spec.sources`
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from unet_spec import Checkpoint, DataSpec, InputError, NetworkConfig, UNetConfig, check_tensors
from unet_spec.checkpoint import replacing
from unet_spec.sources import Origin
from unet_spec.weight_map import entries, to_flax, to_pytorch
from unet_tools.source_files import import_arrays, read_arrays, write_arrays

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
Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Weights:
    """A checkpoint, the format that it was read from, and what another project's file said besides."""

    checkpoint: Checkpoint
    form: Format
    origin: Origin | None = None


def implied(path: Path) -> Format:
    """The format of a name that is to be written."""
    if path.suffix in (".pt", ".pth"):
        return "pytorch"
    return "safetensors" if path.suffix == ".safetensors" else "checkpoint"


def read(path: Path, form: Format | None, base: NetworkConfig) -> Weights:
    """Weights from a file or folder; `form` None: recognised. A state_dict of ours, or a file that others wrote under
    our names, says nothing about padding, merging and the like: that is taken from `base`; widths, channels,
    dimensions, bias and norm follow from the tensors. Raises InputError."""
    if not path.exists():
        raise InputError(f"no such file or folder: {path}")
    if form == "orbax" or (form is None and _is_orbax(path)):
        from unet_jax.orbax_folder import CONFIG, load_orbax

        return Weights(load_orbax(path, None if (path / CONFIG).is_dir() else base), "orbax")
    if form == "checkpoint" or (form is None and path.is_dir()):
        return Weights(Checkpoint.load(path), "checkpoint", Origin.load(path))
    tensors, metadata = read_arrays(path)
    form = form or _ours(path, tensors, base)
    if form not in OURS:
        imported = import_arrays(form, tensors, metadata, path)
        found: Format = imported.origin.source  # type: ignore[assignment]
        return Weights(Checkpoint(imported.config, imported.tensors), found, imported.origin)
    assert form is not None
    return Weights(_of_ours(path, tensors, form, base), form)


def _is_orbax(path: Path) -> bool:
    return path.is_dir() and not (path / "config.json").exists() and any(path.glob("**/_METADATA"))


def _ours(path: Path, tensors: Tensors, base: NetworkConfig) -> Format | None:
    """Which of our own formats a file is; None where its names are not ours."""
    if any(name.endswith((".kernel", ".scale")) for name in tensors) and path.suffix == ".safetensors":
        return "flax"
    named = {"encoder.0.conv1.weight", "head.weight"} <= set(tensors) or next(iter(base.graph.params)) in tensors
    told = path.suffix == ".safetensors" and _read_metadata(path) is not None
    return ("safetensors" if path.suffix == ".safetensors" else "pytorch") if named or told else None


def _of_ours(path: Path, tensors: Tensors, form: Format, base: NetworkConfig) -> Checkpoint:
    tensors = {name: t for name, t in tensors.items() if not name.endswith("num_batches_tracked")}
    told = _read_metadata(path) if path.suffix == ".safetensors" else None
    if form == "flax":
        named = {tuple(name.split(".")): t for name, t in tensors.items()}
        first = named.get(("encoder", "0", "conv1", "kernel"))
        if first is None and told is None:
            raise InputError(f"{path}: no encoder.0.conv1.kernel; these are not the weights of our Flax U-Net")
        shapes = {".".join(p): _torch_shape(p, t.shape) for p, t in named.items()}
        config, data = told or (_infer(base, shapes, path), DataSpec())
        return Checkpoint(config, to_pytorch(config.graph, named), data)
    config, data = told or (_infer(base, {name: t.shape for name, t in tensors.items()}, path), DataSpec())
    check_tensors(config.graph, tensors, str(path))
    return Checkpoint(config, tensors, data)


def write(weights: Weights, path: Path, form: Format) -> None:
    """Weights to a file or folder, whole or not at all. Raises InputError."""
    checkpoint, origin = weights.checkpoint, weights.origin
    if form == "checkpoint":
        checkpoint.save(path)
        if origin is not None:
            origin.save(path)
        return
    if form == "orbax":
        from unet_jax.orbax_folder import save_orbax

        save_orbax(checkpoint, path)
        return
    if path.is_dir():
        raise InputError(f"{path} is a folder; {form} writes one file")
    if form not in OURS:
        known = origin if origin is not None and origin.source == form else Origin(form)
        write_arrays(checkpoint, known, path)
        return
    tensors: Tensors = checkpoint.tensors
    if form == "flax":
        flax = to_flax(checkpoint.config.graph, tensors)
        tensors = {".".join(e.flax): flax[e.flax] for e in entries(checkpoint.config.graph)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            if form == "pytorch":
                import torch

                torch.save({name: torch.from_numpy(np.array(t, order="C")) for name, t in tensors.items()}, temporary)
            else:
                from safetensors.numpy import save

                values = checkpoint.config.to_dict() | {"data": asdict(checkpoint.data)}
                metadata = {"format": "flax" if form == "flax" else "pt", "config": json.dumps(values)}
                temporary.write_bytes(save({n: np.ascontiguousarray(t) for n, t in tensors.items()}, metadata))
    except OSError as e:
        raise InputError(f"cannot write {path}: {e.strerror or e}") from None


def _read_metadata(path: Path) -> tuple[NetworkConfig, DataSpec] | None:
    """The config and data that `write` put into a file's metadata; None in a file of others."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        text = (file.metadata() or {}).get("config")
    if text is None:
        return None
    try:
        values = json.loads(text)
        data = values.pop("data", {})
    except (ValueError, AttributeError, TypeError):
        return None
    return NetworkConfig.from_dict(values, str(path)), DataSpec.from_dict(data, str(path))


def _torch_shape(path: tuple[str, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a Flax kernel (*spatial, I, O) has in PyTorch; others are alike."""
    return (shape[-1], shape[-2], *shape[:-2]) if path[-1] == "kernel" else shape


def _infer(base: NetworkConfig, shapes: Mapping[str, tuple[int, ...]], path: Path) -> NetworkConfig:
    """What the tensors of our U-Net say about its config, over `base`."""
    if not isinstance(base, UNetConfig):
        return base  # of other architectures nothing is guessed
    flat = {name.replace(".kernel", ".weight").replace(".scale", ".weight"): s for name, s in shapes.items()}
    first, head = flat.get("encoder.0.conv1.weight"), flat.get("head.weight")
    if first is None or head is None:
        raise InputError(f"{path}: not the weights of our U-Net, which has encoder.0.conv1 and head")
    widths = []
    while (shape := flat.get(f"encoder.{len(widths)}.conv1.weight")) is not None:
        widths.append(shape[0])
    transposed = "decoder.0.up.weight" in flat
    if not transposed:  # its bottleneck is as wide as the level above; by convention twice that is written
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
