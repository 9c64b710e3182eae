"""The records of `unet predict`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unet_data.inference.predict_file import PredictResult
from unet_data.io.stores.remote import shown
from unet_data.objects.results import ObjectsFound


def image_record(source: Path, target: Path, done: PredictResult, names: Sequence[str]) -> dict[str, Any]:
    """The record of an image, for JSON. names: names of the classes."""
    return {
        "image": shown(source),
        "out": shown(target),
        "shape": list(done.shape),
        "seconds": done.seconds,
        "megapixels_per_second": done.pixels / 1e6 / max(done.seconds, 1e-9),
        "tiles": done.tiles,
        "computed": done.computed,
        "tile": list(done.plan.tiles.tile),
        "exact": done.plan.tiles.exact,
        "redundancy": done.plan.redundancy,
        "predicted_bytes": done.plan.memory,
        "measured_bytes": done.peak - done.before,
        "resident_bytes": done.peak,
        "finished": done.finished,
        "classes": dict(zip(names, done.shares, strict=False)),
        **({} if done.objects is None else _objects(done.objects)),
    }


def _objects(found: ObjectsFound) -> dict[str, Any]:
    return {"objects": found.counts, "object_settings": found.settings.to_dict(), "remarks": list(found.remarks)}
