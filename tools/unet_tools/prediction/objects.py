"""Settings of `unet predict --output objects`, and its printed lines about the objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unet_data.inference.network import OpenNetwork
from unet_data.inference.settings import PredictSettings
from unet_data.io.stores.remote import exists
from unet_data.objects.settings import ObjectSettings, settings_for
from unet_spec import InputError


def settings_of(network: OpenNetwork, settings: PredictSettings, changes: tuple[str, ...]) -> PredictSettings:
    """Adds the object settings: those stored with the network, with changes. Raises InputError."""
    if settings.output != "objects":
        return settings
    own = settings_for(network.data, network.config)
    return replace(settings, objects=ObjectSettings.parsed(changes, own))


def files_of(settings: PredictSettings, targets: Sequence[Path]) -> dict[Path, PredictSettings]:
    """The settings of each result, by its path, with its own table and outlines: of several results, these files have
    the result's name.

    Args:
        settings: the settings of all results.
        targets: all results, also those of other shards and those that exist.

    Raises:
        InputError: two results would have the same table or outlines.
    """

    def own(path: Path | None, target: Path) -> Path | None:
        return path.with_name(f"{path.stem}-{target.stem}{path.suffix}") if path and len(targets) > 1 else path

    found = {t: replace(settings, table=own(settings.table, t), outlines=own(settings.outlines, t)) for t in targets}
    first: dict[Path, Path] = {}
    for target, each in found.items():
        for path in (each.table, each.outlines):
            if path is not None and first.setdefault(path, target) != target:
                raise InputError(f"{first[path].name} and {target.name} would both have the file {path}; rename one")
    return found


def left_to_do(files: Sequence[tuple[Path, Path]], own: Mapping[Path, PredictSettings]) -> list[tuple[Path, Path]]:
    """The images, each with its result, whose results do not exist.

    Raises:
        InputError: a result exists without its table or outlines.
    """
    for _, target in files:
        for path in (own[target].table, own[target].outlines):
            if path is not None and exists(target) and not path.exists():
                raise InputError(
                    f"{target} exists without {path}: delete it to make both, or leave out --skip-existing"
                )
    return [(source, target) for source, target in files if not exists(target)]


def describe(record: dict[str, Any], stored: bool, changed: bool) -> list[str]:
    """Lines about the objects of a file, from its record."""
    own = ObjectSettings.from_dict(record["object_settings"], "record")
    total, counts = sum(record["objects"].values()), ", ".join(f"{n:,} {k}" for k, n in record["objects"].items())
    origin = "stored with the network" if stored else "the defaults, not tuned for this network"
    origin += ", with your changes" if changed else ""
    return [f"{total:,} objects ({counts}), separated by {own.described()} ({origin})", *record["remarks"]]
