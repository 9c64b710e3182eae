"""How an image of some size would be computed: tiles, work over the whole image's, memory. Nothing is computed.

Example: unet plan runs/em/best --image 30000 --memory 2GiB
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from unet_spec import InputError
from unet_spec.planner import mebibytes, plan_image
from unet_tools.console import console, print_json
from unet_tools.memory import parse_bytes
from unet_tools.networks import choose_config


@dataclass(frozen=True)
class Args:
    image: Annotated[tuple[int, ...], tyro.conf.arg(metavar="SIZE [SIZE ...]")]
    """Pixels: one number for all axes, or one per axis."""
    checkpoint: tyro.conf.Positional[Path | None] = None
    """A checkpoint folder, or a config .json."""
    preset: str | None = None
    """Instead of a checkpoint."""
    widths: tuple[int, ...] | None = None
    """Feature maps per level."""
    runtime: Literal["onnx", "mnn", "mnn-fast", "torch", "jax"] = "onnx"
    """Whose memory is predicted."""
    memory: str = "2GiB"
    """For the tiles; the network and its runtime come on top."""
    tile: int | None = None
    """Judge this tile instead of choosing one."""
    halo: int | None = None
    """Outputs to drop at inner edges of tiles. Default: as many as exactness takes."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> int:
    config = choose_config(args.preset, args.checkpoint, widths=args.widths)
    dims = config.spatial_dims
    if len(args.image) not in (1, dims):
        raise InputError(f"--image has {len(args.image)} numbers; give one, or one for each of the {dims} axes")
    size = args.image * dims if len(args.image) == 1 else args.image
    tile = None if args.tile is None else (args.tile,) * dims
    plan = plan_image(
        config.geometry, size, runtime=args.runtime, budget=parse_bytes(args.memory), tile=tile, halo=args.halo
    )
    if args.json:
        values = {k: v for k, v in asdict(plan).items() if k != "tiles"}
        values |= {"redundancy": plan.redundancy, "exact": plan.tiles.exact, "canvas": plan.tiles.canvas}
        print_json(values | {"image": size, "tile": plan.tiles.tile, "tiles": len(plan.tiles)})
        return 0
    console.print(plan.describe())
    if not plan.tiles.exact:
        exact = plan_image(config.geometry, size, runtime=args.runtime, tile=plan.tiles.tile)
        if exact.tiles.exact and exact.work > plan.work:
            console.print(f"the exact halo would take {exact.work / plan.work - 1:.0%} more work at this tile")
    console.print(
        f"memory besides: the network's weights, {mebibytes(4 * config.graph.parameter_count)}, and the runtime"
    )
    return 0
