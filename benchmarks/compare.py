"""Compares the speed of two commits on this machine: imports, the first step, later steps, prediction.

    python -m benchmarks.compare main HEAD [--rounds 5] [--out compare.json]

Each commit is unpacked into its own folder. The same commands run on both in turn, in an order that changes from round
to round. Every command is a new process with an empty cache. Its processor seconds are measured, which depend least on
other load. A ratio above 1 means that the second commit takes longer. The exit code is 1 if a measure is slower by more
than `--limit` in every round.
"""

from __future__ import annotations

import io
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unet_spec import InputError
from unet_tools.console import print_table

from .record import record_of, start, write_record

ROOT = Path(__file__).resolve().parent.parent
_UNET = "import sys; from unet_tools.cli import main; sys.exit(main(sys.argv[1:]))"
_TRAIN = [
    "train",
    "synthetic",
    "--recipe",
    "none",
    "--widths",
    "16",
    "32",
    "--tile",
    "92",
    "--batch",
    "2",
    "--no-report",
    "--out",
    "run",
    "--steps",
]
_WRITE = """
import numpy as np
from unet_spec import Checkpoint, DataSpec, initial_tensors, preset
config = preset("paper", widths=(16, 32))
Checkpoint(config, initial_tensors(config.graph, 0), DataSpec((0.5,), (0.2,))).save("net")
np.save("image.npy", np.random.default_rng(0).random((1024, 1024), np.float32))
"""
_PREDICT = ["predict", "net", "image.npy", "-o", "labels.npy", "--runtime"]
STEPS = 20

Run = Callable[..., float]
"""Runs Python with these arguments and returns the processor seconds."""


def first_step(run: Run) -> float:
    return run("-c", _UNET, *_TRAIN, "1")


def later_steps(run: Run) -> float:
    """Seconds of one step: two runs are subtracted, which removes start and compilation but adds their noise."""
    return (run("-c", _UNET, *_TRAIN, str(1 + STEPS)) - first_step(run)) / STEPS


def prediction(runtime: str) -> Callable[[Run], float]:
    def measure(run: Run) -> float:
        run("-c", _WRITE)
        return run("-c", _UNET, *_PREDICT, runtime)

    return measure


MEASURES: dict[str, Callable[[Run], float]] = {
    "import unet_jax": lambda run: run("-c", "from unet_jax import UNet"),
    "import unet_torch": lambda run: run("-c", "from unet_torch import UNet"),
    "unet --help": lambda run: run("-c", _UNET, "--help"),
    "start, compile, first step": first_step,
    "a later step": later_steps,
    "unet predict, JAX": prediction("jax"),
    "unet predict, ONNX Runtime": prediction("onnx"),
}


@dataclass(frozen=True)
class Args:
    a: Annotated[str, tyro.conf.Positional]
    """The first commit: a name, a tag or a digest."""
    b: Annotated[str, tyro.conf.Positional]
    """The second commit."""
    measures: tuple[str, ...] = tuple(MEASURES)
    """What is measured."""
    rounds: int = 5
    """Number of times that each measure is taken for each commit."""
    limit: float = 1.1
    """A ratio above it in every round counts as slower."""
    out: Path | None = None
    """A JSON file for the results."""


def unpack(commit: str, folder: Path) -> None:
    """The files of a commit. Raises InputError if git does not know it."""
    done = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise InputError(f"git does not know the commit {commit}: {done.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")


def run_in(tree: Path) -> Run:
    """A function that runs Python with the packages of `tree`. All its calls run in the same new folder."""
    folder = Path(tempfile.mkdtemp(dir=tree))
    path = os.pathsep.join(map(str, (tree, tree / "export", tree / "tools")))

    def run(*arguments: str) -> float:
        own = {"PYTHONPATH": path, "UNET_CACHE": tempfile.mkdtemp(dir=folder)}
        if "train" in arguments:  # a training does not overwrite a run
            shutil.rmtree(folder / "run", ignore_errors=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=os.environ | own, capture_output=True, text=True, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise InputError(f"{tree.name}: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return run


def compare(args: Args, seconds: Callable[[str, str], float]) -> list[dict[str, object]]:
    """One row for each measure. `seconds` takes the name of a measure and "a" or "b"."""
    lines = []
    for name in args.measures:
        found: dict[str, list[float]] = {"a": [], "b": []}
        for number in range(args.rounds):
            for side in "ab" if number % 2 == 0 else "ba":
                found[side].append(seconds(name, side))
        ratios = [b / a for a, b in zip(found["a"], found["b"], strict=True)]
        lines.append(
            {
                "measure": name,
                **found,
                "ratio": statistics.median(ratios),
                "least": min(ratios),
                "most": max(ratios),
                "slower": min(ratios) > args.limit,
            }
        )
    return lines


def main(args: Args) -> int:
    if unknown := [name for name in args.measures if name not in MEASURES]:
        raise InputError(f"unknown measure {unknown[0]!r}; there are {', '.join(MEASURES)}")
    with tempfile.TemporaryDirectory() as temporary:
        trees = {side: Path(temporary) / side for side in "ab"}
        for side, commit in (("a", args.a), ("b", args.b)):
            unpack(commit, trees[side])
        lines = compare(args, lambda name, side: MEASURES[name](run_in(trees[side])))
    rows = [
        (
            str(line["measure"]),
            *(f"{statistics.median(line[side]):.3g}" for side in "ab"),  # type: ignore[arg-type]
            f"{line['ratio']:.3f} ({line['least']:.3f} to {line['most']:.3f})",
            "slower" if line["slower"] else "",
        )
        for line in lines
    ]
    print_table(None, ("measure", f"{args.a}, s", f"{args.b}, s", "ratio", ""), rows, right="1 2 3")
    if args.out:
        write_record(args.out, record_of("compare", lines=lines))
    return int(any(line["slower"] for line in lines))


if __name__ == "__main__":
    start("compare", Args, main, __doc__)
