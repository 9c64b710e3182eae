"""Reads the weights of a model of the BioImage Model Zoo, a .zip with an rdf.yaml, and of what `unet export` wrote."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from unet_spec import Checkpoint, DataSpec, InputError, is_checkpoint
from unet_spec.untrusted.strict_json import parse_json
from unet_spec.weights.checkpoint import CONFIG, WEIGHTS

RDF, ONNX, MANIFEST = "rdf.yaml", "model.onnx", "manifest.json"
_LIMIT = 2**33  # bytes of an unpacked file


def is_zoo_model(path: Path) -> bool:
    """Whether a file is a .zip with an rdf.yaml."""
    if path.suffix != ".zip" or not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return RDF in archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):  # a damaged table
        return False


def exported_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint in a bundle, or in a float32 ONNX file of `unet export`; None for other files and folders.

    Raises InputError if a bundle is damaged, or has only the tensors of inference.
    """
    folder = (path / MANIFEST).is_file() and not is_checkpoint(path)
    if find_spec("onnx") is None or not (folder or (path.suffix == ".onnx" and path.is_file())):
        return None
    if not folder:
        return _from_onnx(path)
    from unet_export import is_bundle, open_bundle

    if not is_bundle(path):
        return None
    checkpoint = _from_onnx(open_bundle(path).onnx)
    if checkpoint is None:
        raise InputError(
            f"{path}: it has no tensors that only training needs; convert the checkpoint that it was made of"
        )
    return checkpoint


@contextmanager
def unpacked_weights(path: Path) -> Iterator[Path]:
    """Unpacks the weights of a model of the BioImage Model Zoo, for `formats.read`: a checkpoint folder or one file.

    Packages of this project contain a checkpoint, or an ONNX file with the network's config. From other packages, the
    PyTorch state_dict is used. Raises InputError if all are missing.
    """
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        out = Path(folder)
        names = {info.filename: info for info in archive.infolist()}

        def extract(name: str, target: str) -> Path:
            if names[name].file_size > _LIMIT:
                raise InputError(f"{path}: {name} is larger than {_LIMIT >> 30} GiB")
            try:
                with archive.open(name) as source, (out / target).open("wb") as file:
                    while block := source.read(2**20):
                        file.write(block)
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as e:
                raise InputError(f"{path}: {name} cannot be read ({e})") from None
            return out / target

        states = sorted(name for name in names if name.endswith((".pt", ".pth", ".safetensors")) and "/" not in name)
        if {CONFIG, WEIGHTS} <= set(names):
            for name in (CONFIG, WEIGHTS):
                extract(name, name)
        elif ONNX in names and (checkpoint := _from_onnx(extract(ONNX, ONNX))) is not None:
            checkpoint.save(out / "checkpoint")
            out = out / "checkpoint"
        elif len(states) == 1:
            out = extract(states[0], f"weights{Path(states[0]).suffix}")
        else:
            what = "none" if not states else f"{len(states)}: {', '.join(states)}"
            raise InputError(
                f"{path}: expected a checkpoint of unet train, an ONNX file of unet export, or one PyTorch "
                f"state_dict; state_dicts found: {what}"
            )
        if out.is_dir() and not is_checkpoint(out):
            raise InputError(f"{path}: its {CONFIG} is not a network of this project")
        yield out


def _from_onnx(file: Path) -> Checkpoint | None:
    """The checkpoint in an ONNX file of this project; None for other files, and if tensors for training are missing."""
    from unet_export import read_onnx
    from unet_export.onnx.check import config_of, weights_of

    try:
        _, model, where = read_onnx(file)
        config, tensors = config_of(model, where), weights_of(model, where)
    except InputError:
        return None
    if set(config.graph.params) - set(tensors):
        return None
    data = next((p.value for p in model.metadata_props if p.key == "data"), "{}")
    return Checkpoint(config, tensors, DataSpec.from_dict(parse_json(data, where), where))
