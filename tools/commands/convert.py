"""Weights from one format to another, bit for bit: every tensor in, every tensor out, or an error that names them.

Formats: checkpoint (our folder), pytorch (state_dict, .pt or .pth), safetensors, flax (.safetensors with Flax names and
axes). All but a checkpoint say nothing about padding and the like: give the preset that they were trained as.

Example: unet convert weights.pth checkpoint --preset same
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unet_tools import formats
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
    json: bool = False
    """Print JSON."""


def run(args: Args) -> int:
    source_format = args.source_format or formats.recognise(args.source)
    dest_format = args.dest_format or formats.implied(args.dest)
    checkpoint = formats.read(args.source, source_format, choose_config(args.preset, args.config))
    formats.write(checkpoint, args.dest, dest_format)
    told = {
        "from": source_format,
        "to": dest_format,
        "tensors": len(checkpoint.tensors),
        "parameters": checkpoint.config.graph.parameter_count,
        "config": checkpoint.config.to_dict(),
    }
    if args.json:
        print_json(told)
    else:
        console.print(f"{args.source} ({source_format}) → {args.dest} ({dest_format}): {told['tensors']} tensors")
    return 0
