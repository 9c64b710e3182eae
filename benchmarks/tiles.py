"""Large images: speed, memory and exactness of planned tiles and strips, compared with MONAI's sliding window.

    python -m benchmarks.tiles speed  -o benchmarks/results/tiles/speed.json  [--widths 16 64] [--size 2048]
    python -m benchmarks.tiles memory -o benchmarks/results/tiles/memory.json
    python -m benchmarks.tiles huge   -o benchmarks/results/tiles/huge.json   [--size 30000] [--kills 3]
    python -m benchmarks.tiles small  -o benchmarks/results/tiles/small.json  [--images 500]

Every measurement runs in a separate process, so that its peak memory can be measured. All rows of `speed` use the same
weights and image, and a same-padding U-Net, because MONAI misplaces the output of a valid one. MONAI is used if it is
installed (pip install --no-deps monai). Times are wall-clock: compare them within one run only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from unet_spec import Checkpoint, initial_tensors, preset
from unet_spec.files import parse_bytes
from unet_tools.checking.bench.hardware import versions
from unet_tools.console import notes

from .process import run_apart
from .record import record_of, start, write_record

MIB = 2**20


@dataclass(frozen=True)
class Args:
    what: tyro.conf.Positional[Literal["speed", "memory", "huge", "small"]]
    """Measurement to make."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The JSON file to write."""
    widths: tuple[int, ...] = (16, 64)
    """Feature maps of the first level."""
    size: int | None = None
    """Pixels per axis. Default: 2048; huge: 30000."""
    repeats: int = 1
    """Only for `speed`: measurements of each row; the fastest counts."""
    runtimes: tuple[str, ...] = ("onnx", "mnn", "mnn-fast", "torch", "jax")
    """Only for `memory`: runtimes to measure. The rows of other runtimes in the file stay."""
    images: int = 500
    """Only for `small`: number of images of 256 x 256 pixels."""
    kills: int = 3
    """Only for `huge`: number of times that the run is killed."""
    runtime: str = "onnx"
    """Only for `huge` and `small`: the runtime to use."""
    memory: str = "3GiB"
    """Memory limit of our processes in `speed` and `huge`."""
    whole_limit: float = 5.0
    """Only for `speed`: GiB that the whole-image pass may take. Above it, strips are the reference instead."""
    work: Path = Path(tempfile.gettempdir())
    """Folder for temporary files."""


def main(args: Args) -> int:
    load = {"load_average_before": os.getloadavg()[0]}
    more = ("numpy", "torch", "jax", "onnxruntime", "MNN", "monai")
    header = record_of("tiles", **load) | {"versions": versions(more)}
    rows: list[dict[str, Any]] = []
    if args.what == "memory" and args.out.exists():
        rows = [row for row in json.loads(args.out.read_text())["rows"] if row["runtime"] not in args.runtimes]
    with tempfile.TemporaryDirectory(dir=args.work, prefix="bench-tiles-") as folder:
        for row in MEASUREMENTS[args.what](args, Path(folder)):
            rows.append(row | {"load_average_after": os.getloadavg()[0]})
            write_record(args.out, {**header, "rows": rows})  # after each row, so that a failure loses nothing
    notes.print(f"written: {args.out}")
    return 0


def _checkpoint(folder: Path, name: str, width: int) -> Path:
    config = preset(name, widths=tuple(width * 2**i for i in range(5)), out_channels=2)
    path = folder / f"{name}-{width}"
    if not path.exists():
        Checkpoint(config, initial_tensors(config.graph, 0, np.float32)).save(path)
    return path


def _image(path: Path, size: int) -> Path:
    """Writes blurred noise (H, W), 8 bits, window by window."""
    rng = np.random.default_rng(0)
    image = np.lib.format.open_memmap(path, "w+", np.uint8, (size, size))
    for top in range(0, size, 1000):
        noise = rng.normal(size=(min(1000, size - top), size)).astype(np.float32)
        noise = sum(np.roll(noise, k, axis) for axis in (0, 1) for k in range(-2, 3)) / np.float32(10**0.5)
        image[top : top + 1000] = np.clip(127.5 + 60 * noise, 0, 255)
        image.flush()
    return path


# --- speed ------------------------------------------------------------------------------------------------------------


def _speed(args: Args, folder: Path) -> Iterator[dict[str, Any]]:
    from unet_spec.tiling.planner import tile_memory

    size = args.size or 2048
    image = _image(folder / "image.npy", size)
    for width in args.widths:
        weights = _checkpoint(folder, "same", width)
        config = Checkpoint.load(weights).config
        whole = tile_memory(config.graph, "torch", (config.geometry.grid().above(size),) * 2) / 2**30
        base = {"weights": str(weights), "image": str(image), "memory": args.memory, "folder": str(folder)}
        jobs: list[dict[str, Any]] = [
            {"engine": "ours", "runtime": r} for r in ("onnx", "mnn", "mnn-fast", "torch", "auto")
        ]
        jobs.append({"engine": "ours", "runtime": "torch", "strips": True})
        if whole <= args.whole_limit:
            jobs.insert(0, {"engine": "whole"})
        else:
            notes.print(f"width {width}: the whole image would take {whole:.1f} GiB; strips are the reference")
            jobs.insert(0, jobs.pop())
        if find_spec("monai"):
            jobs += [{"engine": "monai", "roi": r, "overlap": o} for r in (256, 512) for o in (0.25, 0.5)]
        reference: np.ndarray | None = None
        for job in jobs:
            found = min((run_apart(_one_speed, base | job) for _ in range(args.repeats)), key=lambda f: f["seconds"])
            logits = np.load(found.pop("logits"))
            if reference is None:
                reference = logits
            worst = float(np.abs(logits - reference).max() / np.abs(reference).max())
            rate = size * size / 1e6 / found["seconds"]
            row = {"width": width, "size": size, **job, **found, "megapixels_per_second": rate, "deviation": worst}
            notes.print(_describe(row))
            yield row


def _describe(row: dict[str, Any]) -> str:
    name = {k: v for k, v in row.items() if k in ("width", "engine", "runtime", "strips", "roi", "overlap")}
    return (
        f"{name}: {row['seconds']:.1f} s, {row['megapixels_per_second']:.3f} MP/s, "
        f"{row['peak_bytes'] / MIB:.0f} MiB, deviation {row['deviation']:.1e}"
    )


def _segment(job: dict[str, Any], source: Path, out: Path, **settings: Any) -> tuple[str, Any]:
    """Segments a file as `unet predict` does."""
    from unet_data import PredictSettings, predict_file
    from unet_tools.arguments.runtimes import open_network
    from unet_tools.prediction.runtimes.command import chosen_network

    weights, given = Path(job["weights"]), PredictSettings(**settings, overwrite=True)
    if job["runtime"] == "auto":
        network, _ = chosen_network(weights, open_network(weights), [(source, out)], given)
    else:
        network = open_network(weights, job["runtime"])
    return network.name, predict_file(network, source, out, given)


def _one_speed(job: dict[str, Any]) -> dict[str, Any]:
    from unet_data.memory import peak_resident, resident, restart_peak

    out = Path(job["folder"]) / "logits.npy"
    if job["engine"] == "ours":
        limit, strips = parse_bytes(job["memory"]), job.get("strips", False)
        name, done = _segment(job, Path(job["image"]), out, output="logits", memory=limit, strips=strips)
        return {
            "computed_by": name,  # of "auto": the runtime that it chose, whose measurement is not part of the seconds
            "seconds": done.seconds,
            "peak_bytes": done.peak - done.before,
            "predicted_bytes": done.plan.memory,
            "redundancy": done.plan.redundancy,
            "tile": list(done.plan.tiles.tile),
            "logits": str(out),
        }
    import torch

    import unet_torch

    model = unet_torch.from_checkpoint(Checkpoint.load(job["weights"])).eval()
    x = torch.from_numpy(np.load(job["image"]).astype(np.float32)[None, None] / 255)
    restart_peak()
    before, start = resident(), time.perf_counter()
    with torch.inference_mode():
        if job["engine"] == "whole":
            logits = model(x)
        else:
            from monai.inferers.utils import sliding_window_inference

            logits = sliding_window_inference(x, (job["roi"],) * 2, 1, model, overlap=job["overlap"])
    seconds, peak = time.perf_counter() - start, peak_resident()
    np.save(out, np.moveaxis(logits[0].numpy(), 0, -1))  # type: ignore[index]
    return {"seconds": seconds, "peak_bytes": peak - before, "logits": str(out)}


# --- the planner against measurement ----------------------------------------------------------------------------------


def _memory(args: Args, folder: Path) -> Iterator[dict[str, Any]]:
    """Compares predicted and measured memory for a few tile sizes of each network, in each runtime."""
    for runtime in args.runtimes:
        for name, width, tile in (
            ("paper", 16, 572),
            ("paper", 16, 1500),
            ("paper", 32, 988),
            ("same", 16, 1024),
            ("same", 32, 992),
            ("article", 32, 988),
            ("paper", 48, 700),
            ("same-bilinear", 24, 800),
            # The factors of `unet_spec.tiling.peak_memory` were chosen on the rows above, not on these:
            ("same", 24, 1200),
            ("paper", 24, 1100),
        ):
            weights = _checkpoint(folder, name, width)
            job = {"weights": str(weights), "runtime": runtime, "tile": tile, "folder": str(folder)}
            found = run_apart(_one_memory, job)
            ratio = found["predicted_bytes"] / found["peak_bytes"]
            yield {"preset": name, "width": width, "runtime": runtime, **found, "predicted_over_measured": ratio}
            notes.print(f"{runtime} {name} {width} {tile}: measured {found['peak_bytes'] / MIB:.0f} MiB, {ratio:.2f}")


def _one_memory(job: dict[str, Any]) -> dict[str, Any]:
    image, out = Path(job["folder"]) / "small.npy", Path(job["folder"]) / "small-out.npy"
    np.save(image, np.random.default_rng(0).integers(0, 255, (job["tile"], 2 * job["tile"]), np.uint8))
    _, done = _segment(job, image, out, tile=job["tile"])
    return {
        "tile": list(done.plan.tiles.tile),
        "tiles": done.tiles,
        "predicted_bytes": done.plan.memory,
        "peak_bytes": done.peak - done.before,
    }


# --- larger than memory -----------------------------------------------------------------------------------------------


def _huge(args: Args, folder: Path) -> Iterator[dict[str, Any]]:
    """Compares a run of the command line that is killed and restarted several times with an uninterrupted run."""
    size = args.size or 30000
    image, weights = _image(folder / "huge.npy", size), _checkpoint(folder, "paper", args.widths[0])
    unet = [sys.executable, "-m", "unet_tools.cli", "predict", str(weights)]
    flags = ["--runtime", args.runtime, "--memory", args.memory]

    def predict(source: Path, out: Path, *more: str) -> dict[str, Any]:
        command = [*unet, str(source), "--json", *flags, "-o", str(out), *more]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)["images"][0]

    small = _image(folder / "small.npy", 2048)
    rates = [predict(small, folder / "small-out.npy", "--overwrite")["megapixels_per_second"] for _ in range(3)]
    start = time.perf_counter()
    calm = predict(image, folder / "calm.npy")
    total = time.perf_counter() - start
    rates += [predict(small, folder / "small-out.npy", "--overwrite")["megapixels_per_second"] for _ in range(3)]
    notes.print(f"left alone: {total:.0f} s, {calm['megapixels_per_second']:.2f} MP/s, {calm['resident_bytes']} bytes")
    killed = folder / "killed.npy"
    counts = []
    for kill in range(args.kills):
        process = subprocess.Popen(
            [*unet, str(image), *flags, "-o", str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        part, enough = killed.with_name("killed.npy.part"), calm["tiles"] * (kill + 1) // (args.kills + 1)
        while process.poll() is None and len(list(part.glob("[0-9]*.npy"))) <= enough:
            time.sleep(0.2)
        process.kill()
        process.wait()
        assert not killed.exists(), "a killed run left a result"
        counts.append(len(list(part.glob("[0-9]*.npy"))))
        notes.print(f"killed with {counts[-1]} of {calm['tiles']} tiles")
    resumed = predict(image, killed)
    same = subprocess.run(["cmp", str(folder / "calm.npy"), str(killed)]).returncode == 0
    shutil.rmtree(folder / "calm.npy.part", ignore_errors=True)
    notes.print(f"after {args.kills} kills {resumed['computed']} tiles were left; identical: {same}")
    copied = ("tiles", "tile", "redundancy", "seconds", "megapixels_per_second", "predicted_bytes", "measured_bytes",
              "resident_bytes")  # fmt: skip
    yield {
        "size": size,
        "width": args.widths[0],
        "runtime": args.runtime,
        "memory_limit": args.memory,
        **{key: calm[key] for key in copied},
        "total_seconds": total,
        "megapixels_per_second_of_2048": sorted(rates),  # three runs before and three after
        "tiles_kept_at_each_kill": counts,
        "tiles_computed_after_the_last_kill": resumed["computed"],
        "identical": same,
    }


# --- many small images ------------------------------------------------------------------------------------------------


def _small(args: Args, folder: Path) -> Iterator[dict[str, Any]]:
    """The command line on a folder of images, beside the network alone on one tile at a time, before and after."""
    pictures = folder / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for number in range(args.images):
        np.save(pictures / f"{number}.npy", rng.integers(0, 256, (256, 256), np.uint8))
    for width in args.widths:
        weights, out = _checkpoint(folder, "same", width), folder / f"out-{width}"
        alone = [run_apart(_network_alone, {"weights": str(weights), "runtime": args.runtime})["seconds"]]
        command = [sys.executable, "-m", "unet_tools.cli", "predict", str(weights), str(pictures), "-o", str(out)]
        begun = time.perf_counter()
        subprocess.run([*command, "--runtime", args.runtime, "--json"], capture_output=True, check=True)
        seconds = time.perf_counter() - begun
        alone.append(run_apart(_network_alone, {"weights": str(weights), "runtime": args.runtime})["seconds"])
        share = args.images * min(alone) / seconds
        notes.print(f"width {width}: {args.images} images in {seconds:.1f} s, {share:.2f} of the network's own speed")
        yield {
            "width": width,
            "runtime": args.runtime,
            "images": args.images,
            "seconds": seconds,  # with the start of the program
            "network_seconds": alone,  # of one image
            "share_of_network": share,
        }


def _network_alone(job: dict[str, Any]) -> dict[str, Any]:
    """The mean of 20 runs after a first one."""
    from unet_tools.arguments.runtimes import open_network

    run, x = open_network(Path(job["weights"]), job["runtime"]).run, np.zeros((1, 256, 256, 1), np.float32)
    run(x)
    begun = time.perf_counter()
    for _ in range(20):
        run(x)
    return {"seconds": (time.perf_counter() - begun) / 20}


MEASUREMENTS = {"speed": _speed, "memory": _memory, "huge": _huge, "small": _small}


if __name__ == "__main__":
    start("tiles", Args, main, __doc__)
