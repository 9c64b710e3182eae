"""The records of `unet predict`, for JSON and in one line."""

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


def line_of(record: dict[str, Any], runtime: str, shard: str | None) -> str:
    """One line for an image: its result, or the part of it that was computed."""
    rate = f"{record['seconds']:.1f} s, {record['megapixels_per_second']:.2f} megapixels per second"
    shape = "x".join(map(str, record["shape"]))
    if record["finished"]:
        classes = f": {_percent(record['classes'])}" if record["classes"] else ""
        return f"{record['image']} → {record['out']} ({shape}, {runtime}, {rate}){classes}"
    part = str(shard).replace("/", " of ")
    return (
        f"{record['image']}: part {part}, {record['computed']} of {record['tiles']} tiles computed ({runtime}, {rate})"
        "; when all parts are done, the same command without --shard joins them"
    )


def line_of_all(records: Sequence[dict[str, Any]], out: Path, runtime: str, seconds: float, shard: str | None) -> str:
    """One line for several images: folder of the results, time, and mean share of each class."""
    done = [record for record in records if "error" not in record]
    if any(not record["finished"] for record in done):
        part = str(shard).replace("/", " of ")
        return f"{len(done)} images: part {part}; the same command without --shard joins the parts ({seconds:.1f} s)"
    shares = [record["classes"] for record in done if record["classes"]]
    means = {name: sum(each[name] for each in shares) / len(shares) for name in shares[0]} if shares else {}
    classes = f": {_percent(means)}" if means else ""
    return f"{len(done)} of {len(records)} images → {out} ({runtime}, {seconds:.1f} s){classes}"


def _objects(found: ObjectsFound) -> dict[str, Any]:
    return {"objects": found.counts, "object_settings": found.settings.to_dict(), "remarks": list(found.remarks)}


def _percent(shares: dict[str, float]) -> str:
    return ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
