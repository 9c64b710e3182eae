"""Other projects' files: .pth, .safetensors, .h5, .keras, and nnU-Net's trained-model folder. Read safely, and written.

What the tensors mean is `unet_spec.sources`' business; here are files and folders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec import Checkpoint, DataSpec, InputError, is_checkpoint, sources
from unet_spec.checkpoint import read_tensors, replacing
from unet_spec.sources import Imported, Origin

PLANS, DATASET, FINAL = "plans.json", "dataset.json", "checkpoint_final.pth"
Tensors = dict[str, np.ndarray]


def read_arrays(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """A file's tensors, under its own names, and what it says beside them. Nothing of it is run. Raises InputError."""
    if path.suffix in (".pt", ".pth"):
        from unet_torch.safe_load import read_file

        file = read_file(path)
        return file.tensors, file.metadata
    if path.suffix == ".safetensors":
        return read_tensors(path), {}
    if path.suffix in (".h5", ".hdf5", ".keras"):
        from unet_tools.keras_files import read_keras

        return read_keras(path)
    raise InputError(f"{path}: expected a .pth, .pt, .safetensors, .h5 or .keras file, or a folder")


def import_arrays(
    source: str | None, tensors: Tensors, metadata: Mapping[str, Any], path: Path, **told: Any
) -> Imported:
    """The arrays as a network of ours; `source` None: recognised. Files' metadata is kept to be written back; `told` is
    what else the source's reader should know. Raises InputError."""
    source = source or sources.recognise(tensors, str(path))
    return sources.import_tensors(source, tensors, {**metadata, **told, "extra": metadata}, str(path))


def write_arrays(checkpoint: Checkpoint, origin: Origin, path: Path, **told: Any) -> None:
    """The checkpoint as the origin's own file: tensors, counters and what was beside them. `told` is what will lie
    beside the file. Raises InputError."""
    tensors = sources.export_tensors(checkpoint.config, checkpoint.tensors, origin, told)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            if path.suffix in (".h5", ".hdf5", ".keras"):
                from unet_tools.keras_files import write_keras

                write_keras(tensors, origin.extra, temporary)
            elif path.suffix == ".safetensors":
                from safetensors.numpy import save

                temporary.write_bytes(save(tensors, {"format": "pt"}))
            else:
                _save_pth(tensors, dict(origin.extra), temporary)
    except OSError as e:
        raise InputError(f"cannot write {path}: {e.strerror or e}") from None


def _save_pth(tensors: Tensors, extra: dict[str, Any], path: Path) -> None:
    """Names that share an array share a tensor, as in the file that they came from."""
    import torch

    state: dict[str, Any] = {name: torch.from_numpy(t) for name, t in tensors.items()}
    key = extra.pop("weights_key", None)
    torch.save(state | extra if key is None else {key: state, **extra}, path)


@dataclass(frozen=True)
class NnUNetModel:
    """A trained-model folder of nnU-Net v2.

    Attributes:
        plans, dataset: plans.json and dataset.json.
        configuration: "2d", "3d_fullres", …
        folds: "fold_0" … to the network, in order.
        data: the classes' names.
    """

    plans: dict[str, Any]
    dataset: dict[str, Any]
    configuration: str
    folds: dict[str, Imported]
    data: DataSpec


def is_nnunet(folder: Path) -> bool:
    """Whether the folder is a trained model of nnU-Net: plans.json, dataset.json and folds."""
    return all((folder / name).is_file() for name in (PLANS, DATASET)) and any(folder.glob("fold_*"))


def read_nnunet(folder: Path, checkpoint: str = FINAL) -> NnUNetModel:
    """The model with all of its folds. Raises InputError: files missing or damaged, folds of different networks."""
    plans, dataset = (_json(folder / name) for name in (PLANS, DATASET))
    paths = sorted(folder.glob(f"fold_*/{checkpoint}"))
    if not paths:
        raise InputError(f"{folder}: no fold_*/{checkpoint} is there")
    folds: dict[str, Imported] = {}
    configurations: dict[str, str] = {}
    for path in paths:
        tensors, metadata = read_arrays(path)
        configurations[path.parent.name] = configuration = _configuration(metadata, folder)
        folds[path.parent.name] = import_arrays(
            "nnunet", tensors, metadata, path, plans=plans, configuration=configuration
        )
    if len({(configurations[name], fold.config) for name, fold in folds.items()}) > 1:
        raise InputError(f"{folder}: the folds are not of one network")
    config = next(iter(folds.values())).config
    names = _class_names(dataset.get("labels"), config.out_channels)
    return NnUNetModel(plans, dataset, configurations[paths[0].parent.name], folds, DataSpec(class_names=names))


def save_nnunet(model: NnUNetModel, folder: Path) -> None:
    """Writes `folder`/fold_0 … as checkpoints of ours, and plans.json and dataset.json beside them."""
    for name, fold in model.folds.items():
        save_imported(fold, folder / name, model.data)
    _write_jsons(folder, model.plans, model.dataset)


def is_converted_nnunet(folder: Path) -> bool:
    """Whether `save_nnunet` wrote the folder."""
    return is_nnunet(folder) and all(is_checkpoint(fold) for fold in folder.glob("fold_*"))


def export_nnunet(source: Path, folder: Path) -> int:
    """The inverse of `save_nnunet`: a trained-model folder for nnU-Net. Returns the number of folds."""
    folds = {fold.name: Checkpoint.load(fold) for fold in sorted(source.glob("fold_*"))}
    plans, dataset = (_json(source / name) for name in (PLANS, DATASET))
    for name, checkpoint in folds.items():
        origin = Origin.load(source / name) or Origin("nnunet", extra={"weights_key": "network_weights"})
        configuration = _configuration(origin.extra, source)
        write_arrays(checkpoint, origin, folder / name / FINAL, plans=plans, configuration=configuration)
    _write_jsons(folder, plans, dataset)
    return len(folds)


def save_imported(imported: Imported, folder: Path, data: DataSpec | None = None) -> None:
    """A checkpoint of ours, with the record of where it came from."""
    Checkpoint(imported.config, imported.tensors, data or DataSpec()).save(folder)
    imported.origin.save(folder)


def _configuration(metadata: Mapping[str, Any], folder: Path) -> str:
    """As the checkpoint says, or the folder's name: <trainer>__<plans>__<configuration>."""
    told = metadata.get("init_args")
    return str((told.get("configuration") if isinstance(told, dict) else None) or folder.name.rpartition("__")[2])


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise InputError(f"{path}: not a readable JSON file ({e})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a JSON object")
    return values


def _write_jsons(folder: Path, plans: dict[str, Any], dataset: dict[str, Any]) -> None:
    try:
        for name, values in ((PLANS, plans), (DATASET, dataset)):
            with replacing(folder / name) as temporary:
                temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    except OSError as e:
        raise InputError(f"cannot write into {folder}: {e.strerror or e}") from None


def _class_names(labels: Any, classes: int) -> tuple[str, ...]:
    """The names in the order of their numbers; none where labels are regions or do not number the channels."""
    if not isinstance(labels, dict):
        return ()
    numbered = {value: str(name) for name, value in labels.items() if isinstance(value, int) and name != "ignore"}
    return tuple(numbered[i] for i in range(classes)) if sorted(numbered) == list(range(classes)) else ()
