"""Folds and cases of a converted nnU-Net model, or of the bundles exported from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unet_data import OpenNetwork
from unet_data.io.writers import check_no_inputs
from unet_data.nnunet import NnunetPlans, case_targets, find_cases
from unet_spec import Checkpoint, InputError, is_checkpoint

from ..arguments.runtimes import RuntimeName, installed, open_network


def open_folds(folder: Path, plans: NnunetPlans, runtime: RuntimeName | None) -> list[OpenNetwork]:
    """Opens every fold, a checkpoint or a bundle, in a runtime. Raises InputError if a fold does not match the
    plans."""
    networks = [_open_fold(folder / fold, plans, runtime) for fold in plans.folds]
    for fold, network in zip(plans.folds, networks, strict=True):
        plans.check(network.config, folder / fold)
    return networks


def _open_fold(path: Path, plans: NnunetPlans, runtime: RuntimeName | None) -> OpenNetwork:
    """Opens a checkpoint or a bundle. By default a checkpoint runs in PyTorch, if installed: with nnU-Net's kernels,
    its labels equal nnU-Net's. ONNX Runtime computes volumes by planes, which is faster on a CPU."""
    if runtime is None and is_checkpoint(path) and installed("torch"):
        runtime = "torch"
    network = open_network(path, runtime)
    if network.name != "onnx" or network.config.spatial_dims != 3 or len(plans.patch) != 3:
        return network
    import onnx

    from unet_export import emit_onnx, open_bundle
    from unet_export.onnx.planes import PlanesRuntime, can_planes

    if is_checkpoint(path):
        checkpoint = Checkpoint.load(path)
        model = emit_onnx(checkpoint.config, checkpoint.tensors, checkpoint.data)
    else:
        model = onnx.load(open_bundle(path).onnx)
    if getattr(network.runtime, "provider", "") != "CPUExecutionProvider" or not can_planes(model, network.config):
        return network
    return replace(network, runtime=PlanesRuntime(model, network.config, plans.patch))


def choose_cases(
    plans: NnunetPlans, images: Sequence[Path], out: Path, overwrite: bool = False, skip_existing: bool = False
) -> dict[str, tuple[list[Path], Path]]:
    """The cases to compute, by name: the files of their channels and the file to write.

    Args:
        plans: plans of the network.
        images: NIfTI files, or folders of them.
        out: a NIfTI file for one case, or a folder.
        overwrite: replace results that exist.
        skip_existing: leave out cases whose results exist.

    Raises:
        InputError: there are no cases, a channel is missing, or a result exists or is one of the images.
    """
    cases = find_cases(images, len(plans.channel_names), plans.file_ending)
    targets = case_targets(cases, out, plans.file_ending)
    files = [file for case in cases.values() for file in case]
    check_no_inputs(targets.values(), files)
    if skip_existing:
        return {name: (cases[name], target) for name, target in targets.items() if not target.exists()}
    if not overwrite and (existing := [target for target in targets.values() if target.exists()]):
        raise InputError(f"{existing[0]} exists; --overwrite replaces it")
    return {name: (cases[name], target) for name, target in targets.items()}
