"""The folder of a training run.

run.json      the network, the settings and the data set's name: enough to repeat the run, unless it went on with
              another number of steps, learning rate or clipping, which it lists under "changed"
log.jsonl     one line a measurement: step, loss, steps per second; or step and scores on the validation data
              (null: there is none)
best/         the checkpoint with the highest `select` (a setting: IoU, V_Rand, …) on the validation data
last/         the checkpoint of the last measurement
state/        the whole state of the training (Orbax), for resuming
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from unet_data import Dataset
from unet_data.stream_store import telling_of_the_disk
from unet_data.tiles import bands
from unet_jax.processes import led
from unet_jax.settings import TrainSettings
from unet_jax.state import latest_step, unfinished
from unet_spec import InputError, NetworkConfig
from unet_spec.checkpoint import CONFIG, WEIGHTS, leftovers, remove, replacing
from unet_spec.model_card import CARD

STRETCHES = ("steps", "learning_rate", "clip")
"""Those of FREE that change the numbers."""

FREE = (*STRETCHES, "fsdp", "space", "loader", "workers")
"""Settings that a resumed run may have otherwise: how long, on which devices, who reads the batches, and what helps
where the loss was not finite."""

_FILES = ("run.json", "log.jsonl", "report.html", "report.json", "report.png", "best", "last")
_OF_A_CHECKPOINT = (CONFIG, WEIGHTS, CARD)


def check_folder(
    out: Path,
    config: NetworkConfig,
    settings: TrainSettings,
    data: Dataset,
    validation: Dataset | None,
    resume: bool,
) -> dict[str, Any]:
    """What run.json will say. Raises InputError where the folder holds a run; with `resume`, where it is of another
    network, of other settings than FREE, or of other images, those that it is measured on among them."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a folder for the run")
    record = {"network": config.to_dict(), "settings": settings.to_dict(), "data": data.source, "path": data.path}
    record["images"] = [len(data), _digest(data)]
    record["validation"] = None if validation is None else [len(validation), _digest(validation)]
    record["changed"] = []
    if not (out / "run.json").exists():
        return record
    if not resume:
        raise InputError(f"{out} already holds a run; choose another folder, or go on with it by --resume")
    if (out / "last").exists() and not (out / "state").exists():  # a run begins by making state/
        raise InputError(
            f"{out} has checkpoints but no state/, so it cannot go on; train into another folder (unet train --config "
            f"{out / 'run.json'} repeats the run)"
        )
    old, done = read_run(out), latest_step(out / "state") or 0
    if done > settings.steps:
        raise InputError(f"{out} has done {done} steps already, not {settings.steps}; resume it with at least so many")
    for key in ("network", "settings"):
        changed = [
            k for k, v in record[key].items() if k not in FREE and json.loads(json.dumps(v)) != old[key].get(k, v)
        ]
        if changed:
            name = changed[0]
            was, now = old[key].get(name), record[key][name]
            raise InputError(
                f"{out} was trained with {name} {was}, not {now}; resume it with the same settings, or name none"
            )
    for key, use in (("images", "trained"), ("validation", "measured")):
        was, now = old[key], record[key]
        if was and now and was != now:  # a run of an earlier version, or one without validation, has nothing to compare
            raise InputError(
                f"{out} was {use} on {was[0]} images of {old['data']}; the {now[0]} of {data.source} have other names, "
                "sizes or labels: resume it with the same data"
            )
    if done == settings.steps:  # nothing is left to do, so nothing to say of how
        return json.loads((out / "run.json").read_text())
    before, after = old["settings"], record["settings"]
    changed = {name: [before.get(name), after[name]] for name in STRETCHES if before.get(name) != after[name]}
    record["changed"] = old["changed"] + ([{"after": done} | changed] if done and changed else [])
    return record


def write_record(out: Path, record: dict[str, Any]) -> None:
    """Makes the folder and run.json; removes what a killed run left half written. Raises InputError where it cannot be
    written."""
    led(lambda: None)  # all have looked before the first process writes

    def write() -> None:
        try:
            if (out / "run.json").exists():
                _remove_leftovers(out)
            out.mkdir(parents=True, exist_ok=True)
            with replacing(out / "run.json") as temporary:
                temporary.write_text(json.dumps(record, indent=2) + "\n")
        except OSError as e:
            raise InputError(f"cannot write the run folder {out}: {e.strerror or e}") from None

    led(write)


def _remove_leftovers(out: Path) -> None:
    """Temporary files and folders, by their exact names."""
    for folder, names in ((out, _FILES), (out / "best", _OF_A_CHECKPOINT), (out / "last", _OF_A_CHECKPOINT)):
        for path in leftovers(folder, names):
            remove(path)
    for path in unfinished(out / "state"):
        remove(path)


def _digest(data: Dataset) -> str:
    """Of the images' names and sizes and of all labels."""
    digest = hashlib.sha256(repr([(n, i.shape) for n, i in zip(data.names, data.images, strict=True)]).encode())
    for label in data.labels or ():
        for band in bands(label.shape):
            digest.update(np.ascontiguousarray(label[band], np.int32).tobytes())
    return digest.hexdigest()[:16]


def read_run(out: Path) -> dict[str, Any]:
    """The run.json of a run folder: network, settings, data, images, and what changed as it went on (as
    {"after": steps, "steps": [before, since], …}). Raises InputError."""
    try:
        record = json.loads((out / "run.json").read_text())
        found = {key: record[key] for key in ("network", "settings", "data")}
        found |= {"path": record.get("path", ""), "changed": record.get("changed", [])}
        return found | {key: record.get(key) for key in ("images", "validation")}
    except OSError:
        raise InputError(f"{out} is no run folder: it has no readable run.json") from None
    except (ValueError, KeyError, TypeError) as e:
        raise InputError(f"{out / 'run.json'} is damaged ({e})") from None


def next_folder(folder: Path) -> Path:
    """The first of folder-2, folder-3, … that does not exist."""
    folder, number = folder.resolve(), 2  # "." has no name
    while (path := folder.with_name(f"{folder.name}-{number}")).exists():
        number += 1
    return path


def read_log(path: Path, up_to: int) -> list[dict[str, Any]]:
    """The records up to a step; what a killed run logged beyond its last state is dropped."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue  # a line cut short by the kill
        if record["step"] <= up_to:
            records.append({name: math.nan if value is None else value for name, value in record.items()})
    return records


def write_log(path: Path, log: list[dict[str, Any]]) -> None:
    """Writes all of it anew. Raises InputError, as `append_log`."""
    with telling_of_the_disk(path, _kept(path)), replacing(path) as temporary:
        temporary.write_text("".join(map(_line, log)))


def append_log(path: Path, record: dict[str, Any]) -> None:
    """Adds one line. Raises InputError where the disk is full or the folder cannot be written."""
    with telling_of_the_disk(path, _kept(path)), path.open("a") as file:
        file.write(_line(record))


def _kept(log: Path) -> str:
    """What becomes of the run whose log cannot be written."""
    saved = latest_step(log.parent / "state") is not None
    return "; the last saved state is kept: make room and go on with --resume" if saved else ""


def _line(record: dict[str, Any]) -> str:
    """Scores that do not exist are NaN here and null in the file: JSON has no NaN."""
    known = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return json.dumps(known, allow_nan=False) + "\n"


def clear(out: Path) -> None:
    """Removes a run folder, if that is what it is. Raises InputError for any other folder that is not empty."""
    if not out.exists():
        return
    if any(out.iterdir()) and not (out / "run.json").exists():
        raise InputError(f"{out} is not a run folder and not empty; choose another, or remove it")
    shutil.rmtree(out)
