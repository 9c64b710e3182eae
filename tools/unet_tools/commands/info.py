"""Print the layers, sizes, parameters and geometry of a network. Needs no framework.

Example: unet info --preset paper --input 572
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from unet_spec import Graph, InputError, NetworkConfig, preset_names
from unet_spec.summary import blocks, facts, torchinfo

from ..arguments.networks import choose_config
from ..console import console, grouped, print_json, print_table


@dataclass(frozen=True)
class Args:
    checkpoint: tyro.conf.Positional[Path | None] = None
    """A checkpoint folder, the name of an installed network, or a config .json."""
    preset: Annotated[str | None, tyro.conf.arg(help=f"Name of a network: {', '.join(preset_names())}.")] = None
    in_channels: int | None = None
    """Number of image channels."""
    out_channels: int | None = None
    """Number of output channels (logits)."""
    widths: tuple[int, ...] | None = None
    """Feature maps per level."""
    input: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="SIZE [SIZE ...]")] = None
    """Image size in pixels: one number for all axes, or one per axis. Default: 572, or the next larger size that
    fits."""
    style: Literal["layers", "torchinfo", "mermaid"] = "layers"
    """Form of the output. layers: a table of all layers. torchinfo: the table that the library torchinfo prints for the
    article's U-Net, with its counts. mermaid: a flow chart of the blocks."""
    json: bool = False
    """Print the result as JSON."""


def run(args: Args) -> int:
    config = choose_config(args.preset, args.checkpoint, args.in_channels, args.out_channels, args.widths)
    size = _size(config, args.input)
    values = facts(config, size)
    if args.style == "torchinfo" and config.architecture != "unet":
        raise InputError(f"--style torchinfo knows the modules of the U-Net only, not those of {config.architecture}")
    if args.json:
        nearest = {str(n): list(config.geometry.grid().nearest(n)) for n in sorted({512, *size})}
        print_json(values | {"nearest": nearest} | _torchinfo_json(config, size))
    elif args.style == "torchinfo":
        _print_torchinfo(torchinfo(config.graph, size))
    elif args.style == "mermaid":
        print(mermaid(config.graph))
    else:
        _print_layers(config, values)
    return 0


def mermaid(graph: Graph) -> str:
    """A flow chart of the blocks with their channels and parameters, and an arrow for every map between them."""
    network_blocks = blocks(graph)
    key = {block.name: f"b{i}" for i, block in enumerate(network_blocks)}
    lines = ["flowchart LR"]
    for block in network_blocks:
        own = f"<br/>{block.parameters:,} parameters" if block.parameters else ""
        lines.append(f'  {key[block.name]}["{block.name}<br/>{graph.channels[block.last]} channels{own}"]')
    return "\n".join([*lines, *(f"  {key[a]} --> {key[block.name]}" for block in network_blocks for a in block.inputs)])


def _torchinfo_json(config: NetworkConfig, size: tuple[int, ...]) -> dict:
    if config.architecture != "unet":
        return {}
    article = torchinfo(config.graph, size)
    return {"torchinfo": article | {"rows": [asdict(row) for row in article["rows"]]}}


def _size(config: NetworkConfig, given: tuple[int, ...] | None) -> tuple[int, ...]:
    dims = config.spatial_dims
    if given is None:
        return tuple(grid.above(572 if dims == 2 else 1) for grid in config.geometry.grids)
    if len(given) not in (1, dims):
        raise InputError(f"--input has {len(given)} numbers; give one, or one for each of the {dims} axes")
    return given * dims if len(given) == 1 else given


def _shape(values: list[int]) -> str:
    return "x".join(map(str, values))


def _print_layers(config: NetworkConfig, values: dict) -> None:
    lines = [
        (r["name"], f"{r['kind']} {r['detail']}", _shape(r["output"]), grouped(r["parameters"]), grouped(r["macs"]))
        for r in values["layers"]
    ]
    print_table(None, ("layer", "operation", "output", "parameters", "multiply-adds"), lines, right="2 3 4")
    grid, geometry, field = config.geometry.grid(), config.geometry, values["receptive_field"]
    console.print()
    console.print(f"{_shape(values['input'])} → {_shape(values['output'])}")
    console.print(f"{values['parameters']:,} parameters, {values['macs']:,} multiply-adds for one image")
    console.print(f"sizes that fit: {grid.minimum} + {grid.step} k; nearest to 512: {geometry.grid().nearest(512)}")
    console.print(f"margin {geometry.margin()} a side; skips are cropped by {geometry.crops() or 'nothing'}")
    if field:
        widths = ", ".join(f"{w} px for {n} of {field['period']} outputs" for w, n in field["widths"].items())
        console.print(f"receptive field: {widths}; it reaches {field['reach'][0]} to {field['reach'][1]} px")
    else:
        console.print("receptive field: the whole image")
    console.print("tiles can equal the whole image" if values["tiles_exactly"] else "tiles can only approximate")


def _print_torchinfo(article: dict) -> None:
    lines = [(r.layer, r.index, list(r.shape), grouped(r.parameters or 0)) for r in article["rows"]]
    print_table(None, ("layer", "index", "output shape", "parameters"), lines, right="3")
    console.print(f"total parameters: {article['total_parameters']:,}")
    console.print(f"total mult-adds (torchinfo's count): {article['mult_adds']:,}")
    console.print(f"forward/backward pass size (MB): {article['forward_backward_bytes'] / 1e6:.2f}")
    console.print(f"parameters size (MB): {article['parameter_bytes'] / 1e6:.2f}")
