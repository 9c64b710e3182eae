"""Measure the speed of a bundle's network in ONNX Runtime, TensorRT, OpenVINO, PyTorch (eager and compiled) and JAX.

Each runtime has its own process; the processes take turns. Two times are measured: of the network only, and end to end,
from an 8-bit image to its labels.

Example: unet bench bundle --out bench.json
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from unet_spec import InputError
from unet_spec.files import writing

from ..arguments.sizes import Size
from ..checking.bench.hardware import hardware, versions
from ..checking.bench.measure import RUNTIMES, Timing, bench_bundle
from ..console import console, notes, plain, print_json, print_table


@dataclass(frozen=True)
class Args:
    bundle: tyro.conf.Positional[Path]
    """The bundle to measure."""
    runtimes: tuple[str, ...] = RUNTIMES
    """Runtimes to measure. Those that are not installed or do not run here are skipped, with the reason."""
    batch: int = 1
    """Number of images per call."""
    size: Size = None
    """Size of the input in pixels, one number for all axes or one per axis, as in 20x128x128. Default: the bundle's
    tile."""
    rounds: int = 10
    """Number of timed runs per runtime."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The .json file to write; a bar chart is written beside it as .png."""
    overwrite: bool = False
    """Replace the files of --out."""
    json: bool = False
    """Print the result as JSON."""


def run(args: Args) -> int:
    from unet_export import open_bundle

    if args.out is not None:
        _check_out(args.out, args.overwrite)
    bundle = open_bundle(args.bundle)
    report = (lambda line: None) if args.json else notes.print
    result = bench_bundle(bundle, args.runtimes, args.batch, args.size, args.rounds, report)
    timings: list[Timing] = result["timings"]
    values = plain(result | {"timings": [asdict(t) for t in timings], "hardware": hardware(), "versions": versions()})
    if args.out is not None:
        write(args.out, values, timings)
    if args.json:
        print_json(values)
    else:
        show(values, timings)
    return 0 if any(t.p50 is not None for t in timings) else 1


def show(values: dict[str, Any], timings: list[Timing]) -> None:
    lines = [_line(t) for t in timings]
    title = f"{'x'.join(map(str, values['input']))} → {'x'.join(map(str, values['output']))}, {values['rounds']} rounds"
    columns = ("runtime", "p50 ms", "p99 ms", "images/s", "Mpx/s", "end to end ms", "MiB", "of peak", "note")
    print_table(title, columns, lines, right="1 2 3 4 5 6 7")
    peak = values["peak_gflops"]
    text = "peak: see python -m benchmarks.gpu"
    if peak is not None:
        text = f"peak: {peak:.0f} GFLOP/s in a float32 matrix product"
    console.print(f"{text}; {values['hardware']}")


def _line(t: Timing) -> tuple[str, ...]:
    if t.p50 is None or t.p99 is None or t.end_to_end_p50 is None:
        return (t.runtime, *[""] * 7, t.note)
    memory = "" if t.peak_bytes is None else f"{t.peak_bytes / 2**20:.0f}"
    rates = (f"{t.images_per_second:.2f}", f"{t.megapixels_per_second:.2f}")
    times = (f"{t.p50 * 1e3:.0f}", f"{t.p99 * 1e3:.0f}")
    share = "" if t.peak_share is None else f"{t.peak_share:.0%}"
    return (t.runtime, *times, *rates, f"{t.end_to_end_p50 * 1e3:.0f}", memory, share, "")


def _check_out(path: Path, overwrite: bool) -> None:
    """Raises InputError, before anything is measured, if the files cannot be written or would replace others."""
    if path.suffix != ".json" or not path.absolute().parent.is_dir():
        raise InputError(f"cannot write {path}: give a .json file in a folder that exists")
    for file in (path, path.with_suffix(".png")):
        if file.exists() and not overwrite:
            raise InputError(f"{file} exists; --overwrite replaces it")


def write(path: Path, values: dict[str, Any], timings: list[Timing]) -> None:
    """Writes the JSON and, if matplotlib is installed, a picture beside it. Raises OutputError."""
    with writing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    try:
        import matplotlib.figure
    except ModuleNotFoundError:
        notes.print(f"{path} is written without a chart: matplotlib is not installed; pip install 'unet-twins[report]'")
        return
    ran = [t for t in timings if t.images_per_second]
    figure = matplotlib.figure.Figure((7, 0.45 * len(ran) + 1), layout="constrained")
    axes = figure.subplots()
    axes.barh([t.runtime for t in ran], [t.images_per_second or 0.0 for t in ran], color="#4477aa")
    axes.invert_yaxis()
    axes.set_xlabel(f"images per second, network only, input {'x'.join(map(str, values['input']))}")
    axes.set_title(values["hardware"], fontsize=9)
    with writing(path.with_suffix(".png")) as temporary:
        figure.savefig(temporary, dpi=120)
