"""A converted nnU-Net model, or the bundles that were exported from it: its recipe, its folds, its predictions."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from unet_data.nnunet import Recipe, find_cases, is_nnunet, predict_case, read_nifti, write_nifti
from unet_data.nnunet.nifti import ENDINGS
from unet_data.nnunet.sliding import mirrored_views
from unet_spec import Checkpoint, InputError, is_checkpoint
from unet_spec.sources import Origin
from unet_tools import source_files
from unet_tools.many import Record, do_all
from unet_tools.runtimes import Network, RuntimeName, installed, open_network


def find_recipe(folder: Path) -> Recipe | None:
    """What an nnU-Net folder of ours says of its images; None for any other folder. Raises InputError.

    It is nnunet.json, or what `unet convert` keeps beside the folds: plans.json, dataset.json and their source.json.
    """
    if is_nnunet(folder):
        return Recipe.load(folder)
    if not source_files.is_converted_nnunet(folder):
        return None
    folds = sorted(path.name for path in folder.glob("fold_*"))
    origin = Origin.load(folder / folds[0])
    extra: dict[str, Any] = dict(origin.extra) if origin else {}
    plans, dataset = (_json(folder / name) for name in (source_files.PLANS, source_files.DATASET))
    told = extra.get("init_args") or {}
    configuration = told.get("configuration") or next(iter(plans.get("configurations", {})), "")
    axes = extra.get("inference_allowed_mirroring_axes") or ()
    trainer = str(extra.get("trainer_name", "nnUNetTrainer"))
    return Recipe.from_nnunet(plans, dataset, str(configuration), tuple(axes), tuple(folds), trainer)


def open_folds(folder: Path, recipe: Recipe, runtime: RuntimeName | None) -> list[Network]:
    """Every fold, checkpoint or bundle, in a runtime. Raises InputError where one is not the network of the recipe."""
    networks = [_open_fold(folder / fold, recipe, runtime) for fold in recipe.folds]
    for fold, network in zip(recipe.folds, networks, strict=True):
        config = network.config
        found = (config.spatial_dims, config.in_channels, config.out_channels)
        wanted = (len(recipe.patch), len(recipe.channel_names), recipe.heads)
        if found != wanted:
            raise InputError(
                f"{folder / fold}: {found[0]}-D with {found[1]} channels and {found[2]} outputs; the plans say {wanted}"
            )
        config.geometry.check(recipe.patch)
    return networks


def _open_fold(path: Path, recipe: Recipe, runtime: RuntimeName | None) -> Network:
    """A checkpoint or a bundle. A checkpoint runs in PyTorch where that is installed and nothing else is asked for: by
    nnU-Net's own kernels, and so to its very labels. ONNX Runtime computes volumes by planes, faster on a CPU."""
    if runtime is None and is_checkpoint(path) and installed("torch"):
        runtime = "torch"
    network = open_network(path, runtime)
    if network.name != "onnx" or network.config.spatial_dims != 3 or len(recipe.patch) != 3:
        return network
    import onnx

    from unet_export import emit_onnx, open_bundle
    from unet_export.planes import PlanesRuntime, can_planes

    if is_checkpoint(path):
        checkpoint = Checkpoint.load(path)
        model = emit_onnx(checkpoint.config, checkpoint.tensors, checkpoint.data)
    else:
        model = onnx.load(open_bundle(path).onnx)
    if getattr(network.runtime, "provider", "") != "CPUExecutionProvider" or not can_planes(model, network.config):
        return network
    return replace(network, runtime=PlanesRuntime(model, network.config, recipe.patch))


def predict_cases(
    folder: Path,
    recipe: Recipe,
    images: Sequence[Path],
    out: Path,
    runtime: RuntimeName | None = None,
    kind: Literal["labels", "probabilities"] = "labels",
    mirror: bool = True,
    overwrite: bool = False,
    skip_existing: bool = False,
) -> list[Record]:
    """NIfTI files, or folders of them, to NIfTI files; what was done, for each case, or why not (see `do_all`). With
    skip_existing, cases whose results exist are left out. Raises InputError where nothing can be done."""
    cases = find_cases(images, len(recipe.channel_names), recipe.file_ending)
    targets = _targets(list(cases), out, recipe.file_ending)
    todo = [(name, t) for name, t in zip(cases, targets, strict=True) if not (skip_existing and t.exists())]
    if not skip_existing and not overwrite and (there := [t for t in targets if t.exists()]):
        raise InputError(f"{there[0]} exists already; add --overwrite to replace it")
    networks = open_folds(folder, recipe, runtime)

    def one(name: str, target: Path) -> Record:
        start, worked = time.perf_counter(), time.process_time()
        image = read_nifti(cases[name], recipe.reorient)
        runs = [network.runtime.run for network in networks]
        batch = _batch(networks)
        result = predict_case(runs, image.values, image.spacing, recipe, kind, mirror=mirror, batch=batch)
        write_nifti(target, result, image)
        record = {"case": name, "runtime": networks[0].name, "out": str(target), "shape": list(result.shape)}
        return record | {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - worked}

    return do_all("case", {name: (cases[name], partial(one, name, target)) for name, target in todo})


def _batch(networks: Sequence[Network]) -> int:
    """Tiles at once: as many as an engine takes; one on a CPU, where more only cost memory."""
    records = [getattr(network.runtime, "record", None) for network in networks]
    return min((record.profile.max[0] for record in records if record is not None), default=1)


def engine_sizes(recipe: Recipe) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Least and greatest input (batch, *patch) of an engine: one tile, and one with all of its mirrored views."""
    return (1, *recipe.patch), (len(mirrored_views(recipe.mirror_axes)), *recipe.patch)


def _targets(names: list[str], out: Path, ending: str) -> list[Path]:
    if out.name.endswith(ENDINGS) and not out.is_dir():
        if len(names) != 1:
            raise InputError(f"{out} is one file; {len(names)} cases need a folder")
        return [out]
    if out.is_file():
        raise InputError(f"{out} is a file, but no NIfTI file; give a folder, or a name that ends with {ENDINGS[0]}")
    return [out / f"{name}{ending}" for name in names]


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise InputError(f"{path}: cannot be read as JSON ({e})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a JSON object")
    return values
