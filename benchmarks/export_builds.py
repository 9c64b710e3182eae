"""Builds every preset in every precision by TensorRT for RTX for each GPU generation; records size, time and failures.

    python -m benchmarks.export_builds OUT.json [--widths 8 16 32 64]

Needs no GPU: engines are built but not run. Writes OUT.json and, beside it, the table as OUT.md. The networks are
narrow, with three levels in 3-D. Weights and calibration images are random, which changes no dtype.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from unet_export import EngineSettings, PrecisionRecipe, Profile, build_engine, emit_onnx, onnx_bytes
from unet_export.precision.calibrate import activation_ranges
from unet_export.precision.formats import PRECISIONS, QUANTIZED, lower_for
from unet_spec import InputError, UNetConfig, random_tensors
from unet_spec.families.unet import PRESETS
from unet_spec.files import writing
from unet_tools.checking.bench.hardware import hardware

from .record import command_of, start, write_record

CAPABILITIES = ("80", "86", "89", "120")


@dataclass(frozen=True)
class Args:
    out: tyro.conf.Positional[Path]
    """The .json file to write."""
    widths: tuple[int, ...] = (8, 16, 32, 64)
    """Feature maps per level; in 3-D, the first three."""
    presets: tuple[str, ...] = tuple(PRESETS)
    """Presets to build."""
    dims: Annotated[tuple[int, ...], tyro.conf.arg(help="2, 3 or both.")] = (2, 3)


def networks(args: Args) -> Iterator[tuple[str, UNetConfig]]:
    for name in args.presets:
        for dims in args.dims:
            widths = args.widths if dims == 2 else args.widths[:3]
            yield f"{name} {dims}-D", PRESETS[name].replace(widths=widths, spatial_dims=dims)


def builds(name: str, config: UNetConfig, folder: Path) -> Iterator[dict[str, Any]]:
    """One record per precision and GPU generation: the engine's facts, or why TensorRT refused to build it."""
    tensors = random_tensors(config.graph, 0)
    size = tuple(grid.minimum + grid.step for grid in config.geometry.grids)
    image = np.random.default_rng(0).normal(size=(1, *size, config.in_channels)).astype(np.float32)
    for precision in PRECISIONS:
        network = lower_for(precision, config.graph, tensors)
        ranges = activation_ranges(network, [image], precision) if precision in QUANTIZED else {}
        recipe = PrecisionRecipe(precision if precision != "tf32" else "fp32", ranges=ranges)
        content = onnx_bytes(emit_onnx(config, tensors, recipe=recipe))
        for capability in CAPABILITIES:
            record: dict[str, Any] = {"network": name, "precision": precision, "capability": capability}
            try:
                built = build_engine(
                    content,
                    folder / "engine.plan",
                    EngineSettings(
                        Profile.fixed(1, *size),
                        backend="tensorrt_rtx",
                        compute_capabilities=(capability,),
                        tf32=precision == "tf32",
                    ),
                )
            except InputError as e:
                yield record | {"refused": str(e)}
                continue
            yield record | {
                "bytes": built.bytes,
                "seconds": round(built.seconds, 2),
                "dtypes": built.layer_types,
                "version": built.version,
            }


def table(records: list[dict[str, Any]]) -> str:
    """A Markdown table with a row per network and precision and a column per GPU generation."""
    lines = ["| network | precision | dtypes of the layers' outputs | " + " | ".join(f"SM {c}" for c in CAPABILITIES)]
    lines[0] += " |"
    lines.append("|---" * (3 + len(CAPABILITIES)) + "|")
    refusals: list[str] = []
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault((record["network"], record["precision"]), []).append(record)
    for (name, precision), group in groups.items():
        cells = []
        for record in group:
            if "refused" in record:
                reason = record["refused"]
                if reason not in refusals:
                    refusals.append(reason)
                cells.append(f"refused ({refusals.index(reason) + 1})")
            else:
                cells.append(f"{record['bytes'] / 2**20:.2f} MiB, {record['seconds']:.1f} s")
        dtypes = next((r["dtypes"] for r in group if "dtypes" in r), {})
        shown = ", ".join(f"{k} {v}" for k, v in sorted(dtypes.items()) if k not in ("INT32", "INT64", "BOOL"))
        lines.append(f"| {name} | {precision} | {shown} | " + " | ".join(cells) + " |")
    lines += ["", *(f"({i}) {reason}" for i, reason in enumerate(refusals, 1))]
    return "\n".join(lines) + "\n"


def main(args: Args) -> int:
    records: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, config in networks(args):
            records += builds(name, config, Path(folder))
            print(f"{name}: {len(records)} records", file=sys.stderr)
    version = next((r["version"] for r in records if "version" in r), "none")
    head = f"# Engines by TensorRT for RTX {version}, built on {hardware()}\n\n"
    head += f"Made by `{command_of('export_builds')}`. Seconds are of the build alone; nothing was run.\n\n"
    write_record(args.out, records)
    with writing(args.out.with_suffix(".md")) as temporary:
        temporary.write_text(head + table(records), encoding="utf-8")
    return 0


if __name__ == "__main__":
    start("export_builds", Args, main, __doc__)
