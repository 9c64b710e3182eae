"""`unet predict` with a converted nnU-Net model, or the bundles exported from it: its folds and cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from unet_data import OpenNetwork
from unet_data.io.writers import check_no_inputs
from unet_data.nnunet import NnunetPlans, case_targets, find_cases, predict_nifti
from unet_spec import Checkpoint, InputError, is_checkpoint

from ..arguments.runtimes import RuntimeName, installed, open_network
from ..console import notes, print_json
from .many import refuse, run_each


def predict_cases(args: Any, plans: NnunetPlans) -> int:
    """Runs `unet predict` for a converted nnU-Net model, and returns its exit code.

    Args:
        args: arguments of the command.
        plans: plans of the network.

    Raises:
        InputError: options that such a model does not have, or cases that cannot be computed.
    """
    tiles = (args.memory, args.tile, args.halo, args.augment, args.shard, args.dask, args.slurm)
    if any(value is not None for value in tiles) or args.strips or args.blend:
        raise InputError(
            "an nnU-Net model has its own tiles and test-time augmentation; only --no-mirror can change them"
        )
    if args.output in ("logits", "objects") or args.dtype != "float32":
        raise InputError("an nnU-Net model writes labels, or probabilities in float32")
    if args.runtime == "auto":
        raise InputError("--runtime auto is not for an nnU-Net model; leave it out, or give torch, onnx or jax")
    cases = choose_cases(plans, args.images, args.out, args.overwrite, args.skip_existing)
    networks = open_folds(args.checkpoint, plans, args.runtime)
    kind: Literal["labels", "probabilities"] = "labels" if args.output == "labels" else "probabilities"

    def one(name: str, files: list[Path], target: Path) -> dict[str, Any]:
        done = predict_nifti(networks, files, target, plans, kind, args.mirror)
        return {"case": name, "runtime": networks[0].name, "out": str(target), **asdict(done)}

    records = run_each("case", {name: (case[0], partial(one, name, *case)) for name, case in cases.items()})
    if args.json:
        print_json({"output": args.output, "images": records})
    for case in () if args.json else records:
        if "error" not in case:
            shape = "x".join(map(str, case["shape"]))
            notes.print(f"{case['case']} → {case['out']} ({shape}, {case['runtime']}, {case['seconds']:.1f} s)")
    refuse("case", records)
    return 0


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
