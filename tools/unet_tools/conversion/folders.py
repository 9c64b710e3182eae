"""Weights folders of other projects: Hugging Face hub, smp, and files in several shards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unet_spec import InputError, is_checkpoint
from unet_spec.untrusted.strict_json import read_json
from unet_spec.weights.checkpoint import CONFIG

_INDEX = ".index.json"
_NAMES = ("model.safetensors", "pytorch_model.bin", "diffusion_pytorch_model.safetensors")


def is_ours(folder: Path) -> bool:
    """Whether a folder with config.json is a checkpoint of this project, even if damaged: its reader reports errors."""
    if not (folder / CONFIG).is_file():
        return False
    try:
        values = read_json(folder / CONFIG)
    except InputError:
        return is_checkpoint(folder)
    return not isinstance(values, dict) or "architecture" in values or "widths" in values


def has_weights(folder: Path) -> bool:
    """Whether a folder contains weights files of other programs."""
    return any(p.suffix in (".safetensors", ".bin", ".pth", ".pt") or p.name.endswith(_INDEX) for p in folder.iterdir())


def weight_files(path: Path) -> tuple[list[Path], dict[str, Any]]:
    """The weights files of a folder or of an index of shards, and the folder's config.json.

    Raises InputError if a folder has none, or several without a preferred one.
    """
    if path.is_file():
        return (list(_shards(path)), {}) if path.name.endswith(_INDEX) else ([path], {})
    config = read_json(path / CONFIG) if (path / CONFIG).is_file() else {}
    config = config if isinstance(config, dict) else {}
    if indices := sorted(path.glob(f"*{_INDEX}")):
        return list(_shards(indices[0])), config
    named = [path / name for name in _NAMES if (path / name).is_file()]
    candidates = named[:1] or sorted(p for p in path.iterdir() if p.suffix in (".safetensors", ".bin", ".pth", ".pt"))
    if len(candidates) != 1:
        names = ", ".join(p.name for p in candidates[:5])
        what = f"several weights files ({names}); give one of them" if candidates else "no weights file"
        raise InputError(f"{path} is not a checkpoint: it has {what}")
    return candidates, config


def _shards(index: Path) -> Iterator[Path]:
    values = read_json(index)
    named = values.get("weight_map") if isinstance(values, dict) else None
    if not isinstance(named, dict) or not all(isinstance(name, str) for name in named.values()):
        raise InputError(f"{index}: expected an index of shards, with the object weight_map")
    for name in dict.fromkeys(named.values()):
        if Path(name).name != name:
            raise InputError(f"{index}: the shard {name!r} is in another folder")
        if not (index.parent / name).is_file():
            raise InputError(f"{index}: the shard {name} is missing")
        yield index.parent / name


def check_smp(config: dict[str, Any], where: Path) -> list[str]:
    """Lines about settings in an smp folder's config.json that the network here lacks. Raises InputError if they change
    the results."""
    if "encoder_name" not in config:
        return []
    interpolation = config.get("decoder_interpolation", "nearest")
    if interpolation != "nearest":
        raise InputError(f"{where / CONFIG}: decoder_interpolation is {interpolation!r}; only 'nearest' is supported")
    activation = config.get("activation")
    return [f"its activation {activation!r} is left out: the output is logits"] if activation else []
