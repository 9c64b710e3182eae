"""Run the whole workflow in a few minutes on two CPU cores: train a narrow network in JAX, load its weights in PyTorch,
prove that both compute the same, export ONNX, build a TensorRT engine, segment a larger image in each runtime.

Without --data, synthetic images of cell membranes are used. The result is OUT/report.html. The exit code is 1 if a
proof fails.

Example: unet demo --data data/isbi2012 --out demo
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from unet_jax.training.settings import TrainSettings
from unet_spec import narrow

from ..arguments.data import open_data
from ..arguments.networks import choose_config
from ..console import console, notes, print_json, print_table
from ..progress import TrainingProgress
from ..training.demo import DemoResult, run_demo
from .check import print_findings


@dataclass(frozen=True)
class Args:
    data: str = "synthetic"
    """Labelled images, as in unet train."""
    out: Path = Path("demo")
    """The folder to write."""
    preset: str = "paper"
    """The network: any preset that unet info lists."""
    widths: tuple[int, ...] | None = None
    """Feature maps per level. Default: 8 16 32 64, or similarly narrow widths for other architectures."""
    steps: int = 1500
    """Number of training steps."""
    seed: int = 0
    """Random seed."""
    npm: Path = Path("node_modules")
    """The folder into which npm installed onnxruntime-web and geotiff, for a page in OUT/site that segments images in a
    browser. Without them, no page is written."""
    json: bool = False
    """Print the result as JSON."""


def run(args: Args) -> int:
    config = narrow(args.preset) if args.widths is None else choose_config(args.preset, widths=args.widths)
    dataset = open_data(args.data, config.spatial_dims, args.seed)
    classes = dataset.class_count
    channels = config.out_channels if classes <= config.classes == 2 else classes
    config = config.replace(in_channels=dataset.channels, out_channels=channels)
    every = max(args.steps // 5, 1)
    settings = TrainSettings().replace(steps=args.steps, seed=args.seed, validate_every=every)
    command = shlex.join(["unet", *sys.argv[1:]])
    with TrainingProgress(args.steps, quiet=args.json) as progress:
        announce = (lambda stage: None) if args.json else (lambda stage: notes.print(f"— {stage}"))
        result = run_demo(dataset, config, settings, args.out, command, announce, progress.report, args.npm)
    if args.json:
        print_json(asdict(result))
    else:
        _print(result)
    return 0 if result.passed else 1


def _print(result: DemoResult) -> None:
    tiling, scores = result.tiling, result.scores
    print_findings(result.findings)
    console.print()
    size, tile = ("x".join(map(str, tiling[k])) for k in ("image_size", "tile"))
    errors = tiling["worst_deviation"].items()
    lines = [(name, f"{worst:.1e}", f"{tiling['seconds'][name]:.1f}") for name, worst in errors]
    title = f"an image of {size} in {tiling['tiles']} tiles of {tile}, compared with the whole image"
    print_table(title, ("runtime", "worst relative", "seconds"), lines, right="1 2")
    if not tiling["exact"]:
        console.print("each output depends on the whole image in this network, so tiled results are approximate")
    console.print()
    accuracy = f"{scores['pixel_accuracy']:.4f} (calling all one class: {scores['baseline_pixel_accuracy']:.4f})"
    console.print(f"validation: pixel accuracy {accuracy}, IoU {scores['iou']:.4f}, Dice {scores['dice']:.4f}")
    console.print(f"{sum(result.seconds.values()):.0f} s in all; look at {result.report}")
    console.print(result.page, soft_wrap=True)
    passed = result.passed
    console.print("all proofs hold" if passed else "a proof FAILED", style="green" if passed else "red")
