"""Write a deployable folder: ONNX, TensorRT engines, a manifest, and a record of how far each is from the reference.

Engines are built by TensorRT-RTX where it is installed; that needs no GPU.

Example: unet export runs/em/best -o bundle
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unet_export import write_bundle
from unet_spec import Checkpoint
from unet_tools.checking import check_bundle
from unet_tools.commands.check import print_findings
from unet_tools.console import console, print_json, print_table


@dataclass(frozen=True)
class Args:
    checkpoint: tyro.conf.Positional[Path]
    """A checkpoint folder."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The bundle to write. An existing bundle is replaced; any other folder must be empty."""
    engines: bool | None = None
    """True: fail where no engine can be built. False: build none. Default: where TensorRT-RTX is installed."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> int:
    bundle = write_bundle(Checkpoint.load(args.checkpoint), args.out, engines=args.engines)
    findings = check_bundle(args.out)
    passed = all(f.ok is not False for f in findings)
    if args.json:
        engines = [engine.to_dict() for engine in bundle.engines]
        print_json({"bundle": str(args.out), "engines": engines, "findings": [asdict(f) for f in findings]})
        return 0 if passed else 1
    files = sorted(p for p in args.out.rglob("*") if p.is_file())
    lines = [(p.relative_to(args.out).as_posix(), f"{p.stat().st_size:,}") for p in files]
    print_table(str(args.out), ("file", "bytes"), lines, right="1")
    console.print()
    print_findings(findings)
    return 0 if passed else 1
