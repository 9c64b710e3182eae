"""Find the first layer where two networks diverge: two checkpoints, or one checkpoint in two runtimes.

Every layer is also run on the other network's input. This separates the layer's own error from the error that it
inherits. A layer differs if its own error is larger than rounding explains; docs/diff.md derives the bound. The exit
code is 1 if any layer differs. For your own modules, use unet_tools.diff.compare_modules.

Example: unet diff runs/em/best --runtimes jax torch --backward
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from unet_spec import Checkpoint, InputError, NetworkConfig

from ..arguments.networks import named_network
from ..console import print_json
from ..conversion.zoo_files import exported_checkpoint
from ..diff.checkpoints import DiffRuntime, Dtype


@dataclass(frozen=True)
class Args:
    a: tyro.conf.Positional[Path]
    """The network under test: a checkpoint, or a bundle or float32 .onnx file of unet export."""
    b: tyro.conf.Positional[Path | None] = None
    """The reference. Default: the same checkpoint, in the second runtime."""
    runtimes: tuple[DiffRuntime, DiffRuntime] | None = None
    """The runtimes of A and B: jax, torch, onnx, or reference (NumPy, float64). Default: jax and torch for one
    checkpoint; reference for two, or torch with --backward."""
    image: Path | None = None
    """Image to compare on (first page of the file), cropped or mirrored to a small size that fits. Default: random
    numbers."""
    backward: bool = False
    """Also compare gradients with respect to the input and the parameters of every layer."""
    train: bool = False
    """Batch norms use the statistics of the batch, as in training. Dropout stays off."""
    dtype: Dtype | None = None
    """Precision of both networks. Default: float64, or float32 if ONNX Runtime is one of the runtimes."""
    tolerance: float | None = None
    """Bound of a layer's own relative error. Default: derived from dtype, fan-in and conditioning."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Also write a plot to this .png or .svg file."""
    overwrite: bool = False
    """Replace the plot if it exists."""
    json: bool = False
    """Print the result as JSON."""


def run(args: Args) -> int:
    from ..checking.runtimes import check_input, read_prepared
    from ..diff import compare
    from ..diff.checkpoints import open_side

    if args.out is not None:
        from ..diff.plot import check_path

        check_path(args.out)
        if args.out.exists() and not args.overwrite:
            raise InputError(f"{args.out} exists; --overwrite replaces it")
    args = replace(args, a=named_network(args.a), b=None if args.b is None else named_network(args.b))
    first = _load(args.a)
    second = first if args.b is None else _load(args.b)
    if first.config.in_channels != second.config.in_channels or first.config.spatial_dims != second.config.spatial_dims:
        raise InputError(f"{args.a} and {args.b} take images with different channels or axes; they cannot be compared")
    runtimes = args.runtimes or _default_runtimes(args)
    dtype = args.dtype or ("float32" if "onnx" in runtimes else "float64")
    titles = [str(args.a), str(args.b)] if args.b is not None else ["", ""]
    titles = [f"{title} in {runtime}" if title else runtime for title, runtime in zip(titles, runtimes, strict=True)]
    if titles[0] == titles[1]:
        titles[1] += " (again)"
    sides = [
        open_side(checkpoint, runtime, dtype, args.train, title)
        for checkpoint, runtime, title in zip((first, second), runtimes, titles, strict=True)
    ]
    config = _with_common_size(first.config, second.config)
    image = check_input(config, [] if args.image is None else [read_prepared(args.image, first)])
    inputs = [np.asarray(image, dtype)]
    comparison = compare(sides[0], sides[1], inputs, backward=args.backward, tolerance=args.tolerance)
    if args.out is not None:
        from ..diff.plot import save_plot

        save_plot(comparison, args.out)
    if args.json:
        print_json({"dtype": dtype} | comparison.to_dict())
    else:
        from ..diff.table import print_comparison

        print_comparison(comparison)
    return 0 if comparison.same else 1


def _load(path: Path) -> Checkpoint:
    exported = exported_checkpoint(path)
    return Checkpoint.load(path) if exported is None else exported


def _with_common_size(first: NetworkConfig, second: NetworkConfig) -> NetworkConfig:
    """The network whose small image also fits the other network. Raises InputError if there is none."""
    from ..checking.runtimes import check_input

    for config, other in ((first, second), (second, first)):
        size = check_input(config, []).shape[1:-1]
        if all(n in grid for n, grid in zip(size, other.geometry.grids, strict=True)):
            return config
    raise InputError("no small image size fits both networks; they cannot be compared")


def _default_runtimes(args: Args) -> tuple[DiffRuntime, DiffRuntime]:
    if args.b is None:
        return "jax", "torch"
    return ("torch", "torch") if args.backward else ("reference", "reference")
