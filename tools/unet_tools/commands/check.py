"""Check that every installed runtime computes the same network, by comparing each with the float64 NumPy reference.

A checkpoint is checked in JAX, PyTorch (float64 and float32) and ONNX Runtime. For a bundle, all checksums are checked
first, then every precision: by simulation, in ONNX Runtime, in PyTorch's half types and in TensorRT. The exit code is 1
if an error exceeds its bound.

Example: unet check bundle --images slices.tif --labels labels.tif
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from rich.text import Text

from unet_data import read_stack
from unet_data.datasets.label_rule import label_rule
from unet_data.labels.numbers import read_labels
from unet_spec import Checkpoint, InputError
from unet_spec.files import format_bytes

from ..arguments.networks import named_network
from ..checking.findings import Finding
from ..checking.runtimes import check_bundle, check_checkpoint, read_prepared
from ..console import console, notes, print_json, print_table, warnings_as_notes


@dataclass(frozen=True)
class Args:
    checkpoint: tyro.conf.Positional[Path]
    """A checkpoint, a bundle or the name of an installed network."""
    images: tuple[Path, ...] = ()
    """Images to check on: the first page of each file; for a bundle, up to eight pages in all. Default: random numbers
    for a checkpoint, the golden image for a bundle."""
    labels: tuple[Path, ...] = ()
    """Labels of the images, in the same order, to compare Dice. Bundles only."""
    ignore: int | None = None
    """Number in the label files, often 255, of pixels to ignore."""
    preflight: bool = False
    """Check only the runtime that `unet_export.load` chooses on this machine: whether the bundle runs, its time, its
    memory and its error against the reference. Bundles only."""
    provider: str | None = None
    """Execution provider of ONNX Runtime for --preflight: cpu, cuda, tensorrt, tensorrt-rtx, openvino, directml, coreml
    or webgpu. Default: cuda if installed, otherwise cpu."""
    verify: str | None = None
    """Verify the signature of a bundle first, with the public key (a file), or with NAME,https://ISSUER for sigstore. A
    bundle with a file changed, added or removed after signing is refused."""
    json: bool = False
    """Print the result as JSON."""


def run(args: Args) -> int:
    args = replace(args, checkpoint=named_network(args.checkpoint))
    with warnings_as_notes():
        return _check(args)


def _check(args: Args) -> int:
    from unet_export import Identity, open_bundle, verify_bundle
    from unet_export.bundle.manifest import MANIFEST

    bundled = (args.checkpoint / MANIFEST).is_file()  # also a damaged bundle; opening it reports the error
    if args.verify is not None:
        if not bundled:
            raise InputError(f"--verify is for bundles; {args.checkpoint} is not a bundle")
        signer = Identity.parsed(args.verify) if "," in args.verify else args.verify
        verify_bundle(args.checkpoint, signer)
        if not args.json:
            notes.print(f"signed by {args.verify}, and nothing has changed since")
    if args.preflight:
        return _preflight(args)
    if args.provider is not None:
        raise InputError("--provider is for --preflight")
    if args.labels and len(args.labels) != len(args.images):
        raise InputError(f"{len(args.images)} images but {len(args.labels)} labels; give one label for each image")
    digest = None
    if bundled:
        bundle = open_bundle(args.checkpoint)
        dims, digest = bundle.config.spatial_dims, bundle.digest
        images = [image for path in args.images for image in _pages(read_stack(path), dims)]
        findings = check_bundle(args.checkpoint, images or None, _truths(args.labels, dims, args.ignore))
    elif args.labels:
        raise InputError("--labels is for bundles; unet evaluate measures a checkpoint on labelled images")
    else:
        checkpoint = Checkpoint.load(args.checkpoint)
        findings = check_checkpoint(checkpoint, [read_prepared(path, checkpoint) for path in args.images])
    passed = all(f.ok is not False for f in findings) and any(f.ok for f in findings)
    if args.json:
        own = {} if digest is None else {"digest": digest, "verified": args.verify}
        print_json({"passed": passed, **own, "findings": [asdict(f) for f in findings]})
    else:
        print_findings(findings)
        if digest is not None:
            console.print(f"digest of the bundle (SHA-256 of manifest.json): {digest}", soft_wrap=True)
        console.print("the same network" if passed else "NOT the same network", style="green" if passed else "red")
    return 0 if passed else 1


def _preflight(args: Args) -> int:
    from unet_export import preflight

    if args.images or args.labels:
        raise InputError("--preflight measures on the bundle's golden image; leave out --images and --labels")
    result = preflight(args.checkpoint, provider=args.provider)
    if args.json:
        print_json(result.to_dict())
        return 0 if result.ok else 1
    bound = "" if result.bound is None else f" (bound {result.bound:.0e})"
    lines = [
        ("runs in", " ".join(filter(None, (result.runtime, result.provider, result.precision)))),
        *((f"not in {name}", reason) for name, reason in result.passed_over.items()),
        ("opened in", f"{result.load_seconds:.2f} s"),
        (f"first tile of {' x '.join(map(str, result.tile))}", f"{result.first_seconds:.3f} s"),
        (
            "further tiles",
            f"{result.tile_seconds:.3f} s each, {result.megapixels_per_second:.2f} megapixels per second",
        ),
        ("memory", format_bytes(result.memory)),
        ("largest error, relative", f"{result.worst_relative:.1e}{bound}"),
        ("same labels as the reference", f"{result.label_agreement:.4%} (at least {result.least_agreement:.2%})"),
    ]
    print_table(None, ("", str(args.checkpoint)), lines)
    console.print(
        "runs on this machine" if result.ok else "NOT the same network", style="green" if result.ok else "red"
    )
    return 0 if result.ok else 1


def _pages(stack: np.ndarray, dims: int) -> list[np.ndarray]:
    """Images (*spatial, C), or labels (*spatial), of one file: its pages, or one volume."""
    return list(stack) if dims == 2 else [stack]


def _truths(paths: tuple[Path, ...], dims: int, ignore: int | None) -> list[np.ndarray] | None:
    if not paths:
        return None
    raw = [page for path in paths for page in _pages(read_labels(path), dims)]
    rule = label_rule(raw, [paths[0]] * len(raw), "auto", ignore)
    return [rule.apply(page) for page in raw]


def print_findings(findings: list[Finding]) -> None:
    """Prints the table of findings of `unet check`, `unet export` and `unet demo`."""

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.1e}"

    scored = any(f.dice is not None for f in findings)
    verdict = {True: Text("ok", "green"), False: Text("FAILED", "red"), None: "not run"}
    lines = [
        (
            f.runtime,
            f.dtype,
            f.compared_with,
            number(f.worst_relative),
            number(f.bound),
            "" if f.label_agreement is None else f"{f.label_agreement:.4%}",
            "" if f.least_agreement is None else f"{f.least_agreement:.2%}",
            *([] if not scored else ["" if f.dice is None else f"{f.dice:.4f}"]),
            verdict[f.ok],
            f.note,
        )
        for f in findings
    ]
    columns = ["runtime", "dtype", "against", "worst relative", "bound", "same labels", "at least", "", "note"]
    if scored:
        columns.insert(7, "Dice")
    print_table(None, columns, lines, right="3 4 5 6 7" if scored else "3 4 5 6")
