"""Which network a command is about: a preset, a config file or a checkpoint, with some values replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unet_spec import InputError, NetworkConfig, preset
from unet_spec.checkpoint import read_config


def choose_config(
    preset_name: str | None,
    source: Path | None = None,
    in_channels: int | None = None,
    out_channels: int | None = None,
    widths: tuple[int, ...] | None = None,
) -> NetworkConfig:
    """The config of a checkpoint folder or a config .json (`source`), or a preset (None: "paper"), with changes.

    Raises InputError where both a preset and a source are given, or either is not to be had.
    """
    if source is not None and preset_name is not None:
        raise InputError(f"give either a checkpoint ({source}) or --preset {preset_name}, not both")
    if source is None:
        config = preset(preset_name or "paper")
    elif source.suffix == ".json":
        config = read_config_file(source)
    else:
        config = read_config(source)[0]
    changes: dict[str, Any] = {"in_channels": in_channels, "out_channels": out_channels, "widths": widths}
    return config.replace(**{key: value for key, value in changes.items() if value is not None})


def network_name(config: NetworkConfig) -> str:
    """For titles: "U-Net", or the architecture as config.json names it."""
    return "U-Net" if config.architecture == "unet" else config.architecture


def read_config_file(path: Path) -> NetworkConfig:
    """A config from a JSON file as config.json is. Raises InputError."""
    import json

    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise InputError(f"cannot read {path}: {e.strerror}") from None
    except ValueError as e:
        raise InputError(f"{path}: not valid JSON ({e})") from None
    if isinstance(values, dict):
        values.pop("data", None)
    return NetworkConfig.from_dict(values, str(path))
