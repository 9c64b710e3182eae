"""Settings of `unet predict --output objects`, and its printed lines about the objects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from unet_data.inference.network import OpenNetwork
from unet_data.inference.settings import PredictSettings
from unet_data.objects.settings import ObjectSettings, settings_for


def settings_of(network: OpenNetwork, settings: PredictSettings, changes: tuple[str, ...]) -> PredictSettings:
    """Adds the object settings: those stored with the network, with changes. Raises InputError."""
    if settings.output != "objects":
        return settings
    own = settings_for(network.data, network.config)
    return replace(settings, objects=ObjectSettings.parsed(changes, own))


def files_of(settings: PredictSettings, source: Path, several: bool) -> PredictSettings:
    """The settings with the files of table and outlines for one image; for several images, the files have the image's
    name."""

    def own(path: Path | None) -> Path | None:
        return path.with_name(f"{path.stem}-{source.stem}{path.suffix}") if path and several else path

    return replace(settings, table=own(settings.table), outlines=own(settings.outlines))


def describe(record: dict[str, Any], stored: bool, changed: bool) -> list[str]:
    """Lines about the objects of a file, from its record."""
    own = ObjectSettings.from_dict(record["object_settings"], "record")
    total, counts = sum(record["objects"].values()), ", ".join(f"{n:,} {k}" for k, n in record["objects"].items())
    origin = "stored with the network" if stored else "the defaults, not tuned for this network"
    origin += ", with your changes" if changed else ""
    return [f"{total:,} objects ({counts}), separated by {own.described()} ({origin})", *record["remarks"]]
