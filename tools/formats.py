"""The formats that weights come in, each a pair of functions: to tensors under the spec's names, and from them.

checkpoint   our folder: config.json and model.safetensors
pytorch      a state_dict in a .pt or .pth file, for torch.load; read with weights_only=True, nothing else is unpickled
safetensors  the same tensors in one .safetensors file, with the config in its metadata
flax         the same under Flax's names and axes ("encoder.0.conv1.kernel", H W I O)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np

from unet_spec import Checkpoint, DataSpec, InputError, NetworkConfig, UNetConfig, check_tensors, is_checkpoint
from unet_spec.checkpoint import read_tensors, replacing
from unet_spec.weight_map import entries, to_flax, to_pytorch

Format = Literal["checkpoint", "pytorch", "safetensors", "flax"]
Tensors = Mapping[str, np.ndarray]


def recognise(path: Path) -> Format:
    """The format of an existing file or folder. Raises InputError."""
    if not path.exists():
        raise InputError(f"no such file or folder: {path}")
    if is_checkpoint(path):
        return "checkpoint"
    if path.suffix in (".pt", ".pth"):
        return "pytorch"
    if path.suffix == ".safetensors":
        return "flax" if any(name.endswith((".kernel", ".scale")) for name in read_tensors(path)) else "safetensors"
    raise InputError(
        f"cannot tell the format of {path}: expected a checkpoint folder, a .pt, .pth or .safetensors file"
    )


def implied(path: Path) -> Format:
    """The format of a name that is to be written."""
    if path.suffix in (".pt", ".pth"):
        return "pytorch"
    return "safetensors" if path.suffix == ".safetensors" else "checkpoint"


def read(path: Path, form: Format, base: NetworkConfig) -> Checkpoint:
    """Weights from a file. A state_dict, or a file that others wrote, says nothing about padding, merging and the like:
    that is taken from `base`; widths, channels, dimensions, bias and norm follow from the tensors."""
    if form == "checkpoint":
        return Checkpoint.load(path)
    told = None if form == "pytorch" else _read_metadata(path)
    tensors = _read_pytorch(path) if form == "pytorch" else read_tensors(path)
    if form == "flax":
        named = {tuple(name.split(".")): t for name, t in tensors.items()}
        first = named.get(("encoder", "0", "conv1", "kernel"))
        if first is None:
            raise InputError(f"{path}: no encoder.0.conv1.kernel; these are not the weights of our Flax U-Net")
        inferred = _infer(base, {".".join(p): _torch_shape(p, t.shape) for p, t in named.items()}, path)
        config, data = told or (inferred, DataSpec())
        return Checkpoint(config, to_pytorch(config.graph, named), data)
    config, data = told or (_infer(base, {name: t.shape for name, t in tensors.items()}, path), DataSpec())
    check_tensors(config.graph, tensors, str(path))
    return Checkpoint(config, tensors, data)


def write(checkpoint: Checkpoint, path: Path, form: Format) -> None:
    """Weights to a file, whole or not at all. Raises InputError."""
    if form == "checkpoint":
        checkpoint.save(path)
        return
    if path.is_dir():
        raise InputError(f"{path} is a folder; {form} writes one file")
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


def _read_pytorch(path: Path) -> Tensors:
    """A state_dict. weights_only=True unpickles tensors and plain containers; anything else in the file is refused."""
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # torch raises many kinds, from pickle's to zip's
        raise InputError(f"{path}: not a PyTorch file of plain tensors ({str(e).strip().splitlines()[0]})") from None
    if not isinstance(state, dict) or not all(isinstance(t, torch.Tensor) for t in state.values()):
        raise InputError(f"{path}: expected a state_dict, a dictionary of tensors")
    kept = {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}
    if brief := [n for n, t in kept.items() if t.dtype == torch.bfloat16]:
        raise InputError(f"{path}: {brief[0]} is bfloat16; save it as float32 first")
    return {name: np.array(t.numpy(), order="C") for name, t in kept.items()}


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
