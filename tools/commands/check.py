"""Prove that every runtime at hand computes the same network: each against the float64 NumPy reference.

A checkpoint is checked in JAX, PyTorch (float64 and float32) and ONNX Runtime; a bundle in ONNX Runtime and TensorRT,
on its golden image, after every checksum. Exit code 1 where a bound is broken.

Example: unet check runs/em/best --images slice.tif
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from unet_data import read_stack
from unet_data.prepare import prepare
from unet_spec import Checkpoint, InputError
from unet_tools.checking import Finding, check_bundle, check_checkpoint
from unet_tools.console import console, print_json, print_table


@dataclass(frozen=True)
class Args:
    checkpoint: tyro.conf.Positional[Path]
    """A checkpoint or a bundle."""
    images: tuple[Path, ...] = ()
    """Images to check on (the first page of each). Default: random numbers; for a bundle, its golden image."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> int:
    from unet_export import is_bundle

    if is_bundle(args.checkpoint):
        if args.images:
            raise InputError("a bundle is checked on its golden image; give the checkpoint to check other images")
        findings = check_bundle(args.checkpoint)
    else:
        checkpoint = Checkpoint.load(args.checkpoint)
        findings = check_checkpoint(checkpoint, [_prepared(path, checkpoint) for path in args.images])
    passed = all(f.ok is not False for f in findings) and any(f.ok for f in findings)
    if args.json:
        print_json({"passed": passed, "findings": [asdict(f) for f in findings]})
    else:
        print_findings(findings)
        console.print("[green]the same network[/green]" if passed else "[red]NOT the same network[/red]")
    return 0 if passed else 1


def _prepared(path: Path, checkpoint: Checkpoint):
    stack = read_stack(path)
    images = stack[:1] if checkpoint.config.spatial_dims == 2 else stack[None]
    try:
        return prepare(images, checkpoint.config, checkpoint.data)[0]
    except InputError as e:
        raise InputError(f"{path}: {e}") from None


def print_findings(findings: list[Finding]) -> None:
    """The table that `unet check`, `unet export` and `unet demo` end with."""

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.1e}"

    verdict = {True: "[green]ok[/green]", False: "[red]FAILED[/red]", None: "not run"}
    lines = [
        (
            f.runtime,
            f.dtype,
            f.compared_with,
            number(f.worst_relative),
            number(f.bound),
            "" if f.label_agreement is None else f"{f.label_agreement:.4%}",
            verdict[f.ok],
            f.note,
        )
        for f in findings
    ]
    columns = ("runtime", "dtype", "against", "worst relative", "bound", "same labels", "", "note")
    print_table(None, columns, lines, right="3 4 5")
