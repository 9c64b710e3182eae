"""A model repository for NVIDIA Triton that does all of nnU-Net's inference: a volume as read in, labels out.

triton/
  nnunet/           Python backend (`unet_data.nnunet.serve`): normalisation, resampling, sliding window, mirroring,
                    the mean of the folds, labels
  nnunet_fold_0/    the network of a fold: its TensorRT engine where the bundle has one that Triton runs, else its ONNX
  …
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from unet_data.nnunet import Recipe
from unet_data.nnunet.serve import IMAGE, LABELS, SPACING, network_name
from unet_spec.errors import InputError

from .bundle_folder import replacing_folder
from .triton import FOLDER, Word, place, protobuf_text

_MODEL = '''"""nnU-Net's inference; `pip install unet-twins` into the server's Python."""

from pathlib import Path

from unet_data.nnunet.serve import TritonModel


class TritonPythonModel(TritonModel):
    folder = Path(__file__).parent
'''


def write_nnunet_repository(folder: Path, recipe: Recipe, bundles: Sequence[Path]) -> None:
    """Writes `folder`, wholly or not at all; a repository of this kind that is there is replaced.

    bundles: one a fold, in the order of `recipe.folds`. Raises InputError where `folder` holds something else.
    """
    if folder.exists() and not (folder / "nnunet" / "config.pbtxt").is_file():
        raise InputError(f"cannot write a model repository to {folder}: something else is there; move it away first")
    inputs = [
        {"name": IMAGE, "data_type": Word("TYPE_FP32"), "dims": [len(recipe.channel_names), -1, -1, -1]},
        {"name": SPACING, "data_type": Word("TYPE_FP64"), "dims": [3]},
    ]
    output = {"name": LABELS, "data_type": Word("TYPE_UINT16"), "dims": [-1, -1, -1]}
    body = [("name", "nnunet"), ("backend", "python"), ("max_batch_size", 0), ("input", inputs), ("output", output)]
    with replacing_folder(folder) as new:
        version = new / "nnunet" / "1"
        version.mkdir(parents=True)
        (new / "nnunet" / "config.pbtxt").write_text(protobuf_text(body) + "\n", encoding="utf-8")
        (version / "model.py").write_text(_MODEL, encoding="utf-8")
        recipe.save(version)
        for fold, bundle in zip(recipe.folds, bundles, strict=True):
            _copy_network(bundle / FOLDER, new / network_name(fold))


def _copy_network(repository: Path, target: Path) -> None:
    """The network of a bundle's own repository, under another name."""
    served = ("unet_network_tensorrt", "unet_network")
    source = next(repository / name for name in served if (repository / name).is_dir())
    shutil.copytree(source, target, copy_function=place)
    config = target / "config.pbtxt"
    text = config.read_text(encoding="utf-8").replace(f'name: "{source.name}"', f'name: "{target.name}"', 1)
    config.unlink()  # it may be a link to the bundle's
    config.write_text(text, encoding="utf-8")
