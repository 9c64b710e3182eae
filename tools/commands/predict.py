"""Segment images of any size. A TIFF stack in, a TIFF stack out; tiles are exact, see unet info.

OUT is a file for one image, a folder for several (it receives files of the images' names).
Labels are class numbers, 0 to K - 1. Probabilities are those of class 1 where there are two, else one channel a class;
float32 in a TIFF, 0 to 255 in a PNG.

Example: unet predict runs/em/best stack.tif -o labels.tif --output labels
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from unet_data import read_stack, write_stack
from unet_data.predict import labels, predict_image, probabilities
from unet_spec import InputError
from unet_spec.tiling import plan_tiles
from unet_tools.console import notes, print_json
from unet_tools.runtimes import Network, RuntimeName, open_network


@dataclass(frozen=True)
class Args:
    checkpoint: tyro.conf.Positional[Path]
    """A checkpoint or a bundle."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """PNG or TIFF files."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The file or folder to write."""
    runtime: RuntimeName | None = None
    """What runs it. Default: onnx, torch or jax, whichever is installed; tensorrt for a bundle where a GPU fits."""
    output: Literal["labels", "probabilities"] = "labels"
    """What to write."""
    tile: int | None = None
    """Input pixels per axis to compute at once. Default: some 1024, or the whole image where tiles are not exact."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> int:
    if not args.images:
        raise InputError("no image given; unet predict CHECKPOINT IMAGE... -o OUT")
    targets = _targets(args)
    network = open_network(args.checkpoint, args.runtime)
    records = []
    for source, target in zip(args.images, targets, strict=True):
        start = time.perf_counter()
        stack = read_stack(source)
        images = stack if network.config.spatial_dims == 2 else stack[None]
        try:
            written = np.stack([_segment(network, image, args) for image in images])
        except InputError as e:
            raise InputError(f"{source}: {e}") from None
        result = written if network.config.spatial_dims == 2 else written[0]
        if args.output == "probabilities" and target.suffix.lower() == ".png":
            result = np.round(result * 255).astype(np.uint8)
        write_stack(target, result)
        seconds = time.perf_counter() - start
        records.append({"image": str(source), "out": str(target), "shape": list(result.shape), "seconds": seconds})
        if not args.json:
            notes.print(f"{source} → {target} ({'x'.join(map(str, result.shape))}, {network.name}, {seconds:.1f} s)")
    if args.json:
        print_json({"runtime": network.name, "output": args.output, "images": records})
    return 0


def _targets(args: Args) -> list[Path]:
    """Where each result goes, decided before anything is computed."""
    if len(args.images) == 1 and args.out.suffix and not args.out.is_dir():
        if args.out.suffix.lower() not in (".png", ".tif", ".tiff"):
            raise InputError(f"cannot write {args.out}: use .tif or .png")
        return [args.out]
    if args.out.is_file():
        raise InputError(f"{args.out} is a file; {len(args.images)} images need a folder")
    targets = [
        args.out / f"{p.stem}{'.png' if p.suffix.lower() in ('.jpg', '.jpeg') else p.suffix}" for p in args.images
    ]
    if len(set(targets)) != len(targets):
        raise InputError(f"two of the images would be written to the same file in {args.out}; rename one")
    for source, target in zip(args.images, targets, strict=True):
        if source.resolve() == target.resolve():
            raise InputError(f"{target} is the image itself; choose another folder for the results")
    args.out.mkdir(parents=True, exist_ok=True)
    return targets


def _segment(network: Network, image: np.ndarray, args: Args) -> np.ndarray:
    plan = None
    if args.tile is not None:
        plan = plan_tiles(network.config.geometry, image.shape[:-1], args.tile)
        if not plan.exact:
            notes.print("tiles only approximate the whole image with this network (see unet info)", style="yellow")
    logits = predict_image(network.runtime.run, image, network.config, network.data, plan)
    if args.output == "labels":
        return labels(logits)
    p = probabilities(logits).astype(np.float32)
    return p[..., 1] if p.shape[-1] == 2 else p
