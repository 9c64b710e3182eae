"""How files are read for an existing network: as in training, unless a flag overrides it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from unet_data import ReadSettings
from unet_data.io.facts import FileFacts, stored_reading
from unet_spec import DataSpec


@dataclass(frozen=True)
class ReadFlags:
    channels: Literal["auto", "all", "repeat", "grey"] | None = None
    """Channels of images. "auto" drops an alpha channel; "all" keeps it. "repeat" repeats grey as three equal channels;
    "grey" converts colour to grey; both drop alpha. Default: as in training."""
    orientation: Literal["apply", "ignore"] | None = None
    """Orientation tags (EXIF, TIFF). "apply" turns images as the tag says; "ignore" leaves them as stored. Default: as
    in training."""
    white_is_zero: Literal["auto", "stored", "displayed"] | None = None
    """Files marked "white is zero". "auto" inverts images and 1-bit labels; "displayed" inverts all; "stored" inverts
    none. Default: as in training."""
    palette: Literal["auto", "index"] | None = None
    """Files with a colour palette. "auto" reads images as RGB and labels as indices; "index" reads both as indices.
    Default: as in training."""
    class_colors: str | None = None
    """Colours of the classes in colour-coded labels, in the order of the classes: "#000000,#800000" or
    "road=#804080,car=#00008e". Default: as in training."""
    axes: str | None = None
    """Axes of TIFF, .npy and .zarr files, in file order, such as TZYX or ZCYX, if the files do not state them. Default:
    as in training."""
    pixel_size: str | None = None
    """Pixel size, along z, y, x, of images whose files do not state it, with its unit: "5,1,1 mm". One number holds for
    all axes: "0.65 µm". Default: as in training."""


def chosen_reading(flags: ReadFlags, data: DataSpec) -> tuple[ReadSettings, list[str]]:
    """The settings stored with the network, overridden by the flags, and the lines to print about them.

    Args:
        flags: the user's flags; None: not given.
        data: stored with the network.

    Raises:
        InputError: the stored settings are unknown.
    """
    stored = stored_reading(data)
    given = {name: value for name, value in asdict(flags).items() if value is not None}
    chosen, before = replace(stored, **given), asdict(stored)
    lines = []
    if changed := [name for name, value in given.items() if data.reading is not None and value != before[name]]:
        had = ", ".join(f"{_flag(name)} {before[name]}" for name in changed)
        lines.append(f"{_listed(chosen, changed)}: unlike training, which had {had}")
    plain = asdict(ReadSettings())
    if stored_names := [name for name, value in before.items() if value != plain[name] and name not in given]:
        lines.append(f"{_listed(chosen, stored_names)}: as in training")
    return chosen, lines


def assumed_reading(flags: ReadFlags, data: DataSpec, facts: Iterable[FileFacts], where: str) -> list[str]:
    """A line for each decision made while reading, if the network does not store the decision made in training.

    Args:
        flags: the user's flags; None: not given.
        data: stored with the network.
        facts: facts of the files that were read.
        where: name of the network.
    """
    plain = asdict(ReadSettings())
    missing = [name for name, value in asdict(flags).items() if value is None and plain[name]]
    if data.reading is not None or not missing or not any(each.settled for each in facts):
        return []
    return [f"{where} does not say how training read its files; assumed: {_listed(ReadSettings(), missing)}"]


def _listed(settings: ReadSettings, names: Sequence[str]) -> str:
    return ", ".join(f"{_flag(name)} {getattr(settings, name) or 'none'}" for name in names)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
