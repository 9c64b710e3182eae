"""The flags of the commands that check and compare networks: check, diff, bench."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from unet_export.bundle.manifest import MANIFEST

from .arrivals import GONE, Command, Watch
from .reading import FINDING, NETWORK, as_json, in_command, loading, printed


def check(watch: Watch) -> None:
    loading(watch, "check")
    in_command(watch, "check", check_checkpoint=[FINDING])
    watch.stub("unet_tools.commands.check.read_prepared", lambda path, point: str(path), only="path")
    printed(watch, "check", "print_findings")


CHECK = Command(
    "check FOLDER", check, {"load": ("FOLDER",), "check_checkpoint": "called", "exit code": 0},
    {
        "--images": ("a.png b.png", {"read_prepared": "called", "read_prepared.path": "b.png",
                                     "check_checkpoint.images": ["a.png", "b.png"]}),
        "--json": as_json("print_findings"),
    },
)  # fmt: skip


def check_bundle(watch: Watch) -> None:
    Path("BUNDLE").mkdir(exist_ok=True)
    (Path("BUNDLE") / MANIFEST).write_text("")
    watch.stub("unet_export.open_bundle", SimpleNamespace(config=NETWORK.config, digest=""))
    watch.stub("unet_tools.commands.check.read_stack", np.zeros((2, 3, 3, 1)), only="path")
    watch.stub("unet_tools.commands.check._truths", lambda paths, dims, ignore: list(map(str, paths)))
    watch.stub("unet_tools.commands.check.check_bundle", [FINDING], only="folder truths")
    printed(watch, "check", "print_findings")
    answer = SimpleNamespace(ok=True, passed_over={}, tile=(1,), bound=None, **dict.fromkeys(MEASURED, 0), **NAMES)
    watch.stub("unet_export.preflight", answer, only="bundle provider")


MEASURED = ("load_seconds", "first_seconds", "tile_seconds", "megapixels_per_second", "memory")
MEASURED += ("worst_relative", "label_agreement", "least_agreement")
NAMES = dict.fromkeys(("runtime", "provider", "precision"), "")
MEASURING = {"preflight": "called", "preflight.bundle": "BUNDLE", "preflight.provider": None}
COMPARING = ("open_bundle", "open_bundle.folder", "check_bundle", "check_bundle.folder", "check_bundle.truths")
COMPARING += ("_truths", "_truths.paths", "_truths.dims", "_truths.ignore", "print_findings")
CHECK_BUNDLE = Command(
    "check BUNDLE", check_bundle, {"open_bundle.folder": "BUNDLE", "check_bundle.folder": "BUNDLE", "exit code": 0},
    {
        "--labels": ("b.png", {"_truths.paths": (Path("b.png"),), "check_bundle.truths": ["b.png"]}),
        "--ignore": ("255", {"_truths.ignore": 255}),
        "--preflight": ("", MEASURING | dict.fromkeys(COMPARING, GONE)),
        "--provider": ("cuda", {"preflight.provider": "cuda"}),
    },
    needs={"--labels": "--images a.png", "--ignore": "--images a.png", "--provider": "--preflight"},
    elsewhere={"--verify": "tools/commands/test_check.py"},
)  # fmt: skip


def diff(watch: Watch) -> None:
    loading(watch, "diff")
    watch.patch.setattr("unet_tools.diff.checkpoints.open_side", lambda *a: watch.arrived.update(open_side=a[1:]) or a)
    found = SimpleNamespace(same=True, to_dict=dict)
    watch.stub("unet_tools.diff.compare", found, only="backward tolerance")
    watch.stub("unet_tools.checking.runtimes.read_prepared", np.zeros((1, 44, 44, 1)), only="path")
    watch.stub("unet_tools.diff.plot.save_plot", only="path out")
    watch.stub("unet_tools.diff.table.print_comparison", only="")
    watch.stub("unet_tools.commands.diff.print_json", only="")


DIFF = Command(
    "diff A", diff, {"load": ("A",), "open_side": ("torch", "float64", False, "torch"), "compare.tolerance": None},
    {
        "--runtimes": ("jax onnx", {"open_side": ("onnx", "float32", False, "onnx")}),
        "--image": ("a.png", {"read_prepared": "called", "read_prepared.path": "a.png"}),
        "--backward": ("", {"compare.backward": True}),
        "--train": ("", {"open_side": ("torch", "float64", True, "torch")}),
        "--dtype": ("float32", {"open_side": ("torch", "float32", False, "torch")}),
        "--tolerance": ("0.25", {"compare.tolerance": 0.25}),
        "--out": ("plot.svg", {"save_plot": "called", "save_plot.path": "plot.svg"}),
        "--json": as_json("print_comparison"),
    },
    elsewhere={"--overwrite": "tools/commands/test_diff.py"},
)  # fmt: skip


def bench(watch: Watch) -> None:
    watch.stub("unet_export.open_bundle", "bundle")
    timing = SimpleNamespace(p50=1.0)
    watch.patch.setattr("unet_tools.commands.bench.asdict", vars)
    watch.stub("unet_tools.commands.bench.bench_bundle", {"timings": [timing]}, only="runtimes batch size rounds")
    watch.stub("unet_tools.commands.bench.write", only="path")
    watch.stub("unet_tools.commands.bench._check_out", only="path overwrite")
    printed(watch, "bench", "show")


BENCH = Command(
    "bench BUNDLE", bench, {"open_bundle.folder": "BUNDLE", "bench_bundle.batch": 1, "bench_bundle.rounds": 10},
    {
        "--runtimes": ("jax onnx", {"bench_bundle.runtimes": ("jax", "onnx")}),
        "--batch": ("3", {"bench_bundle.batch": 3}),
        "--size": ("20x60x60", {"bench_bundle.size": (20, 60, 60)}),
        "--rounds": ("7", {"bench_bundle.rounds": 7}),
        "--out": (
            "bench.json",
            {"write": "called", "write.path": "bench.json", "_check_out": "called", "_check_out.path": "bench.json",
             "_check_out.overwrite": False},
        ),
        "--overwrite": ("", {"_check_out.overwrite": True}),
        "--json": as_json("show"),
    },
    needs={"--overwrite": "--out bench.json"},
)  # fmt: skip
