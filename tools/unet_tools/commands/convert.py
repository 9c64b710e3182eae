"""Convert weights from one format to another, bit for bit. Tensors without a counterpart are an error that names them.

Formats of this project: checkpoint (a folder), pytorch (a state_dict, .pt or .pth), safetensors, flax (.safetensors
with Flax names and axes), orbax (a folder). Formats of other projects: nnunet, milesial, brain-segmentation, smp,
keras, monai-basicunet, monai-unet, monai-attentionunet, monai-dynunet. Files are recognised by their tensors; code in
them is never run.

A state_dict does not contain settings such as padding: give the preset that it was trained with. A model folder of
nnU-Net becomes a folder with a checkpoint per fold; --to nnunet converts such a folder back.

From a bundle or a float32 .onnx file of unet export, convert reads the checkpoint back; from a .zip of the BioImage
Model Zoo, the checkpoint or the ONNX file that unet export wrote, or the PyTorch state_dict of another project.

A UNet++ trained with deep supervision can be pruned: --prune 2 keeps the layers that its second head needs.

Example: unet convert checkpoint weights.pth --to milesial
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from unet_spec import Checkpoint, InputError
from unet_spec.families.unetpp import UNetPPConfig
from unet_spec.sources import Imported

from ..arguments.networks import choose_config, named_network
from ..console import console, notes, print_json
from ..conversion import formats, nnunet_models
from ..conversion.assumed import describe, stated
from ..conversion.zoo_files import exported_checkpoint, is_zoo_model, unpacked_weights


@dataclass(frozen=True)
class Args:
    source: tyro.conf.Positional[Path]
    """The file or folder to read, or the name of an installed network."""
    dest: tyro.conf.Positional[Path]
    """The file or folder to write. It is replaced if it exists."""
    source_format: Annotated[formats.Format | None, tyro.conf.arg(name="from")] = None
    """Format of SOURCE. Default: recognised from its tensors."""
    dest_format: Annotated[formats.Format | None, tyro.conf.arg(name="to")] = None
    """Format of DEST. Default: pytorch for .pt and .pth, safetensors for .safetensors, otherwise checkpoint."""
    preset: str | None = None
    """The network, if SOURCE does not describe it. Widths, channels and norm are read from the tensors."""
    config: Path | None = None
    """The network as a config .json, instead of a preset."""
    key: str | None = None
    """Entry or prefix to read from a file with several sets of weights, such as model_ema."""
    mean: tuple[str, ...] = ()
    """Mean of the images that the weights were trained with: a number per channel, relative to full scale, or imagenet,
    or none."""
    std: tuple[str, ...] = ()
    """Standard deviation of the images that the weights were trained with, in the same form as --mean."""
    class_names: tuple[str, ...] = ()
    """Names of the classes, in order."""
    classes: Literal["exclusive", "overlapping"] | None = None
    """exclusive: a pixel has one class (softmax). overlapping: a pixel may have several (a sigmoid per class)."""
    set: tuple[str, ...] = ()
    """Settings of the network that tensors cannot show, as NAME=VALUE, such as padding=same."""
    prune: int | None = None
    """For a UNet++ with deep supervision: the head whose layers are kept. 1 gives the smallest network."""
    json: bool = False
    """Print the result as JSON."""


def run(args: Args) -> int:
    args = replace(args, source=named_network(args.source))
    _check_apart(args.source, args.dest)
    if nnunet_models.is_model(args.source):
        if args.prune is not None:
            raise InputError(f"--prune is for a UNet++ with deep supervision; {args.source} is a model of nnU-Net")
        record = _convert_folds(args)
    else:
        base = choose_config(args.preset, args.config)
        if is_zoo_model(args.source):
            with unpacked_weights(args.source) as source:
                weights = formats.read(source, args.source_format, base, args.key)
        elif (exported := exported_checkpoint(args.source)) is not None:
            weights = formats.Weights(exported, "checkpoint")
        else:
            weights = formats.read(args.source, args.source_format, base, args.key)
        if args.prune is not None:
            weights = replace(weights, checkpoint=_pruned(weights.checkpoint, args.prune))
        said = stated(weights.checkpoint, args.mean, args.std, args.class_names, args.classes, args.set)
        weights = replace(weights, checkpoint=said)
        for note in weights.notes:
            notes.print(f"{args.source}: {note}")
        if assumed := describe(said.data, str(args.source)):
            notes.print(assumed)
        form = args.dest_format or formats.implied(args.dest)
        formats.write(weights, args.dest, form)
        record = _record(weights.form, form, weights.checkpoint)
        if left := formats.left_out(weights.checkpoint, form):
            notes.print(f"{args.dest}: {left}")
        record |= {"notes": [*weights.notes, *([left] if left else [])], "assumed": list(said.data.assumed)}
    if args.json:
        print_json(record)
    else:
        folds = f" in each of {record['folds']} folds" if "folds" in record else ""
        source, dest = f"{args.source} ({record['from']})", f"{args.dest} ({record['to']})"
        console.print(f"{source} → {dest}: {record['tensors']} tensors{folds}")
    return 0


def _check_apart(source: Path, dest: Path) -> None:
    """Raises InputError if the result would replace the source."""
    if source.exists() and dest.exists() and source.samefile(dest):
        raise InputError(f"{dest} is the source itself; give another name for the result")


def _pruned(checkpoint: Checkpoint, level: int) -> Checkpoint:
    config = checkpoint.config
    if not isinstance(config, UNetPPConfig):
        raise InputError(f"--prune is for a UNet++ with deep supervision; this network is {config.architecture!r}")
    return replace(checkpoint, config=config.pruned(level), tensors=config.pruned_tensors(checkpoint.tensors, level))


def _convert_folds(args: Args) -> dict[str, Any]:
    """Converts a model folder of nnU-Net to a folder of checkpoints, or back."""
    if args.dest.is_file():
        raise InputError(f"{args.dest} is a file; a model with several folds is converted to a folder")
    if nnunet_models.is_converted(args.source):
        if args.dest_format != "nnunet":
            raise InputError(f"{args.source} contains a checkpoint per fold; convert one of them, or give --to nnunet")
        folds = nnunet_models.export_converted(args.source, args.dest)
        return _record("checkpoint", "nnunet", folds[0]) | {"folds": len(folds)}
    if args.dest_format not in (None, "checkpoint"):
        raise InputError(
            f"{args.source} is an nnU-Net model with several folds; it is converted to a folder of checkpoints"
        )
    model = nnunet_models.read_model(args.source)
    nnunet_models.save_converted(model, args.dest)
    return _record("nnunet", "checkpoint", next(iter(model.folds.values()))) | {"folds": len(model.folds)}


def _record(source: str, dest: str, weights: Checkpoint | Imported) -> dict[str, Any]:
    return {
        "from": source,
        "to": dest,
        "tensors": len(weights.tensors),
        "parameters": weights.config.graph.parameter_count,
        "config": weights.config.to_dict(),
    }
