"""The folder of a training run.

run.json      the network, the settings and the data set's name: enough to repeat the run, unless it was resumed with
              another number of steps, learning rate or clipping, which are listed under "changed";
              after the last step, the assessment of the run ("verdict")
log.jsonl     one record per line: step, loss, steps per second; or step and validation scores (null: a score that does
              not exist)
best/         the checkpoint with the highest `select` (a setting: IoU, V_Rand, …) on the validation data
last/         the checkpoint of the last validation
state/        the TrainState (Orbax), for resuming
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unet_data import Dataset
from unet_data.datasets.dataset import decisions
from unet_data.windows import bands
from unet_spec import InputError, NetworkConfig
from unet_spec.errors import OutputError
from unet_spec.files import leftovers, remove, replacing, writing
from unet_spec.untrusted.strict_json import read_object
from unet_spec.weights.checkpoint import CONFIG, WEIGHTS
from unet_spec.weights.model_card import CARD

from ..devices.processes import run_on_process_zero
from ..settings import TrainSettings
from .train_state_folder import latest_step, unfinished_saves

RETUNABLE = ("steps", "learning_rate", "clip")
"""Settings that a resumed run may change although they change its results: the duration, and those that help if the
loss was not finite."""

FREE = (*RETUNABLE, "fsdp", "space", "loader", "workers", "validate", "group")
"""Settings that a resumed run may change: those above, devices and processes, and how its images are selected;
`check_folder` checks that the images are the same."""

_FILES = ("run.json", "log.jsonl", "report.html", "report.json", "report.png", "best", "last")
_CHECKPOINT_FILES = (CONFIG, WEIGHTS, CARD)


def check_new(out: Path, resume: bool) -> None:
    """Raises InputError if `out` is a file or, without `resume`, contains a run."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; give a folder for the run")
    if not resume and (out / "run.json").exists():
        raise InputError(f"{out} already contains a run; give another folder, or continue the run with --resume")


def check_folder(
    out: Path,
    config: NetworkConfig,
    settings: TrainSettings,
    data: Dataset,
    validation: Dataset | None,
    resume: bool,
    own: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The content of run.json for a run in `out`.

    Raises InputError if the folder contains a run. With `resume`, raises InputError if that run has another network,
    other settings (except FREE), other user functions (`own`: names by part, such as "loss") or other images for
    training or validation.
    """
    check_new(out, resume)
    record = {"network": config.to_dict(), "settings": settings.to_dict(), "data": data.source, "path": data.path}
    record["images"] = [len(data), images_digest(data)]
    record["validation"] = None if validation is None else [len(validation), images_digest(validation)]
    record["validation_images"] = None if validation is None else list(validation.names)
    record["reading"] = {
        "decisions": decisions(data) if validation is None else decisions(data, validation),
        "files_left_out": {str(e.path): e.reason for e in data.entries if e.status == "left out"},
    }
    record["changed"] = []
    record |= {"own": dict(own)} if own else {}
    if not (out / "run.json").exists():
        return record
    if (out / "last").exists() and not (out / "state").exists():  # a run creates state/ first
        raise InputError(
            f"{out} has checkpoints but no state/, so it cannot be resumed; train into another folder (unet train "
            f"--config {out / 'run.json'} repeats the run)"
        )
    old, done = read_run(out), latest_step(out / "state") or 0
    if done > (steps := settings.optimisation.steps):
        raise InputError(f"{out} already has {done} steps; to resume it, steps must be at least {done}, not {steps}")
    # Settings that earlier versions lacked take their current values; for some, 0 became None.
    before, after = (
        TrainSettings.from_dict(record["settings"] | old["settings"], str(out)).to_dict(),
        record["settings"],
    )
    old["settings"] = before
    for key in ("network", "settings"):
        now, then = (json.loads(json.dumps(part[key])) for part in (record, old))  # JSON turns tuples into lists
        changed = [k for k, v in now.items() if k not in FREE and v != then.get(k, v)]
        if changed:
            name = changed[0]
            was, now = old[key].get(name), record[key][name]
            raise InputError(
                f"{out} was trained with {name} {was}, not {now}; resume it with the same setting, or leave "
                "the setting out"
            )
    if old["own"] != (now := dict(own or {})):
        raise InputError(
            f"{out} was trained with {_functions(old['own'])}, not with {_functions(now)}; resume it with "
            "the same functions"
        )
    for key, use in (("images", "trained"), ("validation", "measured")):
        was, now = old[key], record[key]
        if was and now and was != now:  # None: a run of an earlier version, or without validation
            raise InputError(
                f"{out} was {use} on {was[0]} images of {old['data']}; the {now[0]} of {data.source} differ "
                "in names, sizes or labels: resume it with the same data"
            )
    if done == steps:  # the run is complete
        return read_object(out / "run.json", finite=False)
    changed = {name: [before[name], after[name]] for name in RETUNABLE if before[name] != after[name]}
    record["changed"] = old["changed"] + ([{"after": done} | changed] if done and changed else [])
    return record


def _functions(own: Mapping[str, str]) -> str:
    return ", ".join(f"the {part} {name}" for part, name in own.items()) or "no function of your own"


def write_record(out: Path, record: dict[str, Any]) -> None:
    """Creates the folder and run.json, and removes partial files of a killed run. Raises InputError if it cannot be
    written."""
    run_on_process_zero(lambda: None)  # a barrier: all processes have read before process 0 writes

    def write() -> None:
        try:
            if (out / "run.json").exists():
                _remove_leftovers(out)
            out.mkdir(parents=True, exist_ok=True)
            with replacing(out / "run.json") as temporary:
                temporary.write_text(json.dumps(record, indent=2) + "\n")
        except OSError as e:
            raise OutputError(f"cannot write the run folder {out}: {e.strerror or e}") from None

    run_on_process_zero(write)


def add_to_record(out: Path, name: str, value: Any) -> None:
    """Adds an entry, a value of JSON, to run.json; an equal entry does not change the file. Raises InputError if it
    cannot be written."""
    record = read_object(out / "run.json", finite=False)
    if record.get(name) == value:
        return
    with writing(out / "run.json") as temporary:
        temporary.write_text(json.dumps(record | {name: value}, indent=2) + "\n")


def _remove_leftovers(out: Path) -> None:
    """Removes temporary files and folders of a killed run, by their exact names."""
    for folder, names in ((out, _FILES), (out / "best", _CHECKPOINT_FILES), (out / "last", _CHECKPOINT_FILES)):
        for path in leftovers(folder, names):
            remove(path)
    for path in unfinished_saves(out / "state"):
        remove(path)


def images_digest(data: Dataset) -> str:
    """A digest of the images' names and sizes and of all labels."""
    digest = hashlib.sha256(repr([(n, i.shape) for n, i in zip(data.names, data.images, strict=True)]).encode())
    for label in data.labels or ():
        for band in bands(label.shape):
            digest.update(np.ascontiguousarray(label[band], np.int32).tobytes())
    return digest.hexdigest()[:16]


def read_run(out: Path) -> dict[str, Any]:
    """Reads run.json of a run folder: network, settings, data, images, and the changes when the run was resumed (as
    {"after": steps, "steps": [before, since], …}). Raises InputError."""
    try:
        if not (out / "run.json").is_file():
            raise InputError(f"{out} is not a run folder: it has no run.json")
        record = read_object(out / "run.json", finite=False)
        run = {key: record[key] for key in ("network", "settings", "data")}
        run["settings"] = {"validate": "last"} | run["settings"]  # the only behaviour of earlier versions
        run |= {"path": record.get("path", ""), "changed": record.get("changed", []), "own": record.get("own", {})}
        return run | {key: record.get(key) for key in ("images", "validation")}
    except InputError:
        raise
    except (ValueError, KeyError, TypeError) as e:
        raise InputError(f"{out / 'run.json'} is damaged ({e})") from None


def next_folder(folder: Path) -> Path:
    """The first of folder-2, folder-3, … that does not exist."""
    folder, number = folder.resolve(), 2  # "." has no name
    while (path := folder.with_name(f"{folder.name}-{number}")).exists():
        number += 1
    return path


def clear(out: Path) -> None:
    """Removes a run folder. Raises InputError for any other folder that is not empty."""
    if not out.exists():
        return
    if any(out.iterdir()) and not (out / "run.json").exists():
        raise InputError(f"{out} is not a run folder and not empty; give another folder, or remove it")
    shutil.rmtree(out)
