"""The network of a command: a preset, a config file or a checkpoint, with some values replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unet_spec import InputError, NetworkConfig, find_network, installed_networks, preset
from unet_spec.untrusted.strict_json import read_json
from unet_spec.weights.checkpoint import read_config

from ..console import notes, warnings_as_notes


def choose_config(
    preset_name: str | None,
    source: Path | None = None,
    in_channels: int | None = None,
    out_channels: int | None = None,
    widths: tuple[int, ...] | None = None,
) -> NetworkConfig:
    """The network that a command's flags describe, with some values replaced.

    Args:
        preset_name: a preset; None: "paper" if there is no `source`.
        source: a checkpoint folder, the name of an installed network, or a config .json.
        in_channels, out_channels, widths: replace the config's, if given.

    Raises:
        InputError: both a preset and a source are given, or either does not exist.
    """
    if source is not None and preset_name is not None:
        raise InputError(f"give either a checkpoint ({source}) or --preset {preset_name}, not both")
    if source is None:
        config = preset(preset_name or "paper")
    elif source.suffix == ".json":
        config = read_config_file(source)
    else:
        config = read_config(named_network(source))[0]
    changes: dict[str, Any] = {"in_channels": in_channels, "out_channels": out_channels, "widths": widths}
    return config.replace(**{key: value for key, value in changes.items() if value is not None})


def named_network(path: Path) -> Path:
    """The folder of an installed network, such as nuclei, which is also printed; other paths are returned unchanged.
    Raises InputError: see `unet_spec.find_network`."""
    with warnings_as_notes():
        folder = find_network(path)
    if folder != path:
        notes.print(f"{path}: the network of {installed_networks()[path.name]}, in {folder}")
    return folder


def network_name(config: NetworkConfig) -> str:
    """Name for titles: "U-Net", or the architecture's name in config.json."""
    return "U-Net" if config.architecture == "unet" else config.architecture


def read_config_file(path: Path) -> NetworkConfig:
    """Reads a config from a JSON file in the format of config.json. Raises InputError."""
    values = read_json(path)
    if isinstance(values, dict):
        values.pop("data", None)
    return NetworkConfig.from_dict(values, str(path))
