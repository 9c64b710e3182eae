"""Weights from one format to another, bit for bit: every tensor in, every tensor out, or an error that names them.

Formats: checkpoint (our folder), pytorch (a state_dict of ours, .pt or .pth), safetensors, flax (.safetensors with Flax
names and axes), orbax (a folder), and other projects' own files: nnunet, milesial, brain-segmentation, smp, keras,
monai-basicunet, monai-unet, monai-attentionunet, monai-dynunet. What a file is, is recognised by its tensors; nothing
in it is run.

A state_dict of ours says nothing about padding and the like: give the preset that it was trained as. A trained-model
folder of nnU-Net becomes a folder with a checkpoint for each fold, and with --to nnunet it becomes one again.

A UNet++ that was trained with deep supervision can be cut down on the way: --prune 2 keeps what its second head needs.

Example: unet convert checkpoint weights.pth --to milesial
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from unet_spec import Checkpoint, InputError
from unet_spec.families import UNetPPConfig
from unet_tools import formats, source_files
from unet_tools.console import console, print_json
from unet_tools.networks import choose_config


@dataclass(frozen=True)
class Args:
    source: tyro.conf.Positional[Path]
    """What to read."""
    dest: tyro.conf.Positional[Path]
    """What to write; replaced if it is there."""
    source_format: Annotated[formats.Format | None, tyro.conf.arg(name="from")] = None
    """Default: recognised."""
    dest_format: Annotated[formats.Format | None, tyro.conf.arg(name="to")] = None
    """Default: by the name: .pt and .pth pytorch, .safetensors safetensors, else checkpoint."""
    preset: str | None = None
    """The network, where the source does not say it. Widths, channels and norm are read from the tensors."""
    config: Path | None = None
    """The same as a config .json."""
    prune: int | None = None
    """Keep what this head of a UNet++ with deep supervision needs: 1 is the smallest network."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> int:
    if source_files.is_nnunet(args.source):
        if args.prune is not None:
            raise InputError(f"--prune is for a UNet++ with deep supervision; {args.source} is a model of nnU-Net")
        told = _convert_folder(args)
    else:
        weights = formats.read(args.source, args.source_format, choose_config(args.preset, args.config))
        if args.prune is not None:
            weights = replace(weights, checkpoint=_pruned(weights.checkpoint, args.prune))
        form = args.dest_format or formats.implied(args.dest)
        formats.write(weights, args.dest, form)
        config = weights.checkpoint.config
        told = _told(weights.form, form, config, len(weights.checkpoint.tensors))
    if args.json:
        print_json(told)
    else:
        folds = f" in each of {told['folds']} folds" if "folds" in told else ""
        console.print(f"{args.source} ({told['from']}) → {args.dest} ({told['to']}): {told['tensors']} tensors{folds}")
    return 0


def _pruned(checkpoint: Checkpoint, level: int) -> Checkpoint:
    config = checkpoint.config
    if not isinstance(config, UNetPPConfig):
        raise InputError(f"--prune is for a UNet++ with deep supervision; this network is {config.architecture!r}")
    return replace(checkpoint, config=config.pruned(level), tensors=config.pruned_tensors(checkpoint.tensors, level))


def _convert_folder(args: Args) -> dict[str, Any]:
    """A trained-model folder of nnU-Net to a folder of checkpoints, and back."""
    if args.dest.is_file():
        raise InputError(f"{args.dest} is a file; a model of several folds becomes a folder")
    if source_files.is_converted_nnunet(args.source):
        if args.dest_format != "nnunet":
            raise InputError(
                f"{args.source} holds a checkpoint for each fold; convert one of them, or give --to nnunet"
            )
        folds = source_files.export_nnunet(args.source, args.dest)
        checkpoint = formats.read(next(args.source.glob("fold_*")), "checkpoint", choose_config(None)).checkpoint
        return _told("checkpoint", "nnunet", checkpoint.config, len(checkpoint.tensors)) | {"folds": folds}
    if args.dest_format not in (None, "checkpoint"):
        raise InputError(f"{args.source} is a model of nnU-Net with several folds; it becomes a folder of checkpoints")
    model = source_files.read_nnunet(args.source)
    source_files.save_nnunet(model, args.dest)
    first = next(iter(model.folds.values()))
    return _told("nnunet", "checkpoint", first.config, len(first.tensors)) | {"folds": len(model.folds)}


def _told(source: str, dest: str, config: Any, tensors: int) -> dict[str, Any]:
    return {
        "from": source,
        "to": dest,
        "tensors": tensors,
        "parameters": config.graph.parameter_count,
        "config": config.to_dict(),
    }
