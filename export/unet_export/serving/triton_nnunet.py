"""Writes a model repository for NVIDIA Triton with all steps of nnU-Net's inference, from the volume to labels.

triton/
  nnunet/           Python backend (`unet_data.nnunet.serve`): normalisation, resampling, sliding window, mirroring,
                    the mean of the folds, labels; here and below, `nnunet` is the name of the model
  nnunet_fold_0/    the network of a fold: a TensorRT engine, if the bundle has one that Triton runs, otherwise ONNX
  …
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from unet_data.nnunet import NnunetPlans
from unet_data.nnunet.serve import IMAGE, LABELS, SPACING, network_name
from unet_spec.errors import InputError
from unet_spec.files import replacing_folder

from .repository import FOLDER, checked_name, place, tensor, write_model
from .triton import NAME as BARE

_MODEL = '''"""nnU-Net's inference; `pip install unet-twins` into the server's Python."""

from pathlib import Path

from unet_data.nnunet.serve import TritonModel


class TritonPythonModel(TritonModel):
    folder = Path(__file__).parent
'''

NAME = "nnunet"


def nnunet_model_names(name: str, plans: NnunetPlans) -> list[str]:
    """The models of a repository."""
    return [name, *(network_name(fold, name) for fold in plans.folds)]


def write_nnunet_repository(folder: Path, plans: NnunetPlans, bundles: Sequence[Path], name: str = NAME) -> None:
    """Writes `folder` atomically; an existing repository that this function wrote is replaced.

    bundles: one per fold, in the order of `plans.folds`. name: name of the model, and prefix of its networks' names.
    Raises InputError if `folder` contains something else, or the name is invalid.
    """
    checked_name(name)
    volume = tensor(IMAGE, "TYPE_FP32", [len(plans.channel_names), -1, -1, -1])
    body = {"backend": "python", "max_batch_size": 0, "input": [volume, tensor(SPACING, "TYPE_FP64", [3])]}
    with replacing_folder(folder, _check_own) as new:
        version = write_model(new, name, {**body, "output": [tensor(LABELS, "TYPE_UINT16", [-1, -1, -1])]})
        (version / "model.py").write_text(_MODEL, encoding="utf-8")
        plans.save(version)
        for fold, bundle in zip(plans.folds, bundles, strict=True):
            _copy_network(bundle / FOLDER, new / network_name(fold, name))


def _check_own(folder: Path) -> None:
    """Raises InputError if a folder contains more than a repository of this kind, which is recognised by its
    model.py."""
    marked = next((path.parent.parent.name for path in folder.glob("*/1/model.py") if _is_own(path)), None)
    own = re.compile(rf"{re.escape(marked or '')}(_fold_\w+)?")
    others = [] if not marked else [p.name for p in folder.iterdir() if not own.fullmatch(p.name)]
    if not marked or others:
        what = f"it also contains {sorted(others)[0]}" if others else "it contains other files"
        raise InputError(f"cannot write a model repository to {folder}: {what}; move it elsewhere first")


def _is_own(file: Path) -> bool:
    try:
        return file.read_text(encoding="utf-8") == _MODEL
    except (OSError, ValueError):
        return False


def _copy_network(repository: Path, target: Path) -> None:
    """Copies the network of a bundle's repository under another name."""
    served = (f"{BARE}_network_tensorrt", f"{BARE}_network")
    source = next(repository / name for name in served if (repository / name).is_dir())
    shutil.copytree(source, target, copy_function=place)
    config = target / "config.pbtxt"
    text = config.read_text(encoding="utf-8").replace(f'name: "{source.name}"', f'name: "{target.name}"', 1)
    config.unlink()  # it may be a link to the bundle's file
    config.write_text(text, encoding="utf-8")
