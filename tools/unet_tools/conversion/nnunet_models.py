"""Trained-model folders of nnU-Net: reads all folds, converts them to a folder of checkpoints, and writes them back.

fold_0/checkpoint_final.pth …  plans.json  dataset.json    nnU-Net's
fold_0/config.json …           plans.json  dataset.json    converted: each fold is a checkpoint of ours
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unet_spec import Checkpoint, DataSpec, InputError, is_checkpoint
from unet_spec.files import replacing_folder, writing
from unet_spec.sources import Imported, Origin
from unet_spec.sources.origin import FILE as SOURCE
from unet_spec.untrusted.strict_json import read_object
from unet_spec.weights.checkpoint import CONFIG, WEIGHTS

from .formats import export_file, import_file
from .tensor_files import read_files

PLANS, DATASET, FINAL = "plans.json", "dataset.json", "checkpoint_final.pth"


@dataclass(frozen=True)
class NnunetModel:
    """A trained-model folder of nnU-Net v2.

    Attributes:
        plans, dataset: plans.json and dataset.json.
        folds: networks by name ("fold_0" …), in order.
        data: names of the classes.
    """

    plans: dict[str, Any]
    dataset: dict[str, Any]
    folds: dict[str, Imported]
    data: DataSpec


def is_model(folder: Path) -> bool:
    """Whether the folder is a trained model of nnU-Net, or a converted one: it has plans.json, dataset.json and
    folds."""
    return all((folder / name).is_file() for name in (PLANS, DATASET)) and any(folder.glob("fold_*"))


def is_converted(folder: Path) -> bool:
    """Whether `save_converted` wrote the folder."""
    return is_model(folder) and all(is_checkpoint(fold) for fold in folder.glob("fold_*"))


def read_model(folder: Path) -> NnunetModel:
    """Reads a model with all folds. Raises InputError if files are missing or damaged, or the networks of folds
    differ."""
    plans, dataset = read_object(folder / PLANS), read_object(folder / DATASET)
    paths = sorted(folder.glob(f"fold_*/{FINAL}"))
    if not paths:
        raise InputError(f"{folder}: it contains no fold_*/{FINAL}")
    folds, networks = {}, set()
    for path in paths:
        file = read_files(path)
        tensors, metadata = file.tensors, file.metadata
        configuration = _configuration(metadata, folder)
        fold = import_file("nnunet", tensors, metadata, path, plans=plans, configuration=configuration)
        folds[path.parent.name] = fold
        networks.add((configuration, fold.config))
    if len(networks) > 1:
        raise InputError(f"{folder}: its folds are of different networks")
    names = _class_names(dataset.get("labels"), next(iter(folds.values())).config.out_channels)
    return NnunetModel(plans, dataset, folds, DataSpec(class_names=names))


def save_converted(model: NnunetModel, folder: Path) -> None:
    """Writes checkpoints to `folder`/fold_0 …, with plans.json and dataset.json, atomically. Raises InputError if the
    folder contains anything else."""
    with replacing_folder(folder, lambda path: _check_own(path, (CONFIG, WEIGHTS, SOURCE))) as new:
        for name, fold in model.folds.items():
            Checkpoint(fold.config, fold.tensors, model.data).save(new / name, {SOURCE: fold.origin.to_json()})
        _write_plans(new, model.plans, model.dataset)


def export_converted(source: Path, folder: Path) -> list[Checkpoint]:
    """Writes a converted folder as a trained-model folder of nnU-Net. Returns its folds."""
    folds = {fold.name: Checkpoint.load(fold) for fold in sorted(source.glob("fold_*"))}
    plans, dataset = read_object(source / PLANS), read_object(source / DATASET)
    with replacing_folder(folder, lambda path: _check_own(path, (FINAL,))) as new:
        for name, checkpoint in folds.items():
            origin = Origin.load(source / name) or Origin("nnunet", extra={"weights_key": "network_weights"})
            configuration = _configuration(origin.extra, source)
            export_file(checkpoint, origin, new / name / FINAL, plans=plans, configuration=configuration)
        _write_plans(new, plans, dataset)
    return list(folds.values())


def _check_own(folder: Path, names: tuple[str, ...]) -> None:
    """Raises InputError, to prevent overwriting, if a folder contains more than the plans and `names` in its folds."""
    allowed = [PLANS, DATASET, *(f"fold_*/{name}" for name in names)]
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        if not path.is_dir() and not any(path.relative_to(folder).match(pattern) for pattern in allowed):
            raise InputError(
                f"cannot replace {folder}: {path.name} does not belong to a converted model; move it elsewhere first"
            )


def _configuration(metadata: Mapping[str, Any], folder: Path) -> str:
    """The configuration, from the checkpoint or the folder's name: <trainer>__<plans>__<configuration>."""
    arguments = metadata.get("init_args")
    named = arguments.get("configuration") if isinstance(arguments, dict) else None
    return str(named or folder.name.rpartition("__")[2])


def _write_plans(folder: Path, plans: dict[str, Any], dataset: dict[str, Any]) -> None:
    for name, values in ((PLANS, plans), (DATASET, dataset)):
        with writing(folder / name) as temporary:
            temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _class_names(labels: Any, classes: int) -> tuple[str, ...]:
    """Class names in the order of their numbers; empty if labels are regions or do not number the channels."""
    if not isinstance(labels, dict):
        return ()
    numbered = {value: str(name) for name, value in labels.items() if isinstance(value, int) and name != "ignore"}
    return tuple(numbered[i] for i in range(classes)) if sorted(numbered) == list(range(classes)) else ()
