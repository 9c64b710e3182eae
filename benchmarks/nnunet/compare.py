"""Compares nnU-Net's own predictor with ours on one NIfTI volume: labels, probabilities, seconds, peak memory.

python -m benchmarks.nnunet.compare --nnunet-python ENV/bin/python [--out benchmarks/results/nnunet/comparison.md]

ENV is an environment with nnunetv2. nnU-Net builds an untrained network from hand-made plans, with random weights.
Ours is its trained-model folder, converted. The two take turns, each run in its own process on `threads` cores. Seconds
are from NIfTI to NIfTI without loading the network; the fastest of `repeats` counts.

nnU-Net's float16 sums magnify a difference in the last bit. The row "channels_last" shows how much: it compares nnU-Net
with itself, with its weights in that layout, in which PyTorch adds the same products in another order.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unet_data.memory import peak_resident
from unet_data.nnunet.nifti import import_nibabel
from unet_spec import InputError
from unet_spec.files import writing
from unet_tools.arguments.runtimes import RuntimeName
from unet_tools.console import print_table

from ..record import start

SIDE = Path(__file__).with_name("reference.py")
BOUND = 1e-4
"""Maximum allowed difference of a probability."""
NETWORKS = {
    "2d": ("--widths", "32", "64", "128", "256", "--patch", "128", "128"),
    "3d_fullres": ("--widths", "32", "64", "128", "256", "--patch", "16", "64", "64"),
}
SMALL = {
    "2d": ("--widths", "8", "16", "32", "--patch", "32", "40"),
    "3d_fullres": ("--widths", "8", "16", "32", "--patch", "8", "32", "40", "--folds", "2"),
}


@dataclass(frozen=True)
class Args:
    nnunet_python: Path
    """The Python of an environment that has nnunetv2."""
    configurations: tuple[Literal["2d", "3d_fullres"], ...] = ("2d", "3d_fullres")
    runtimes: tuple[RuntimeName, ...] = ("onnx", "torch")
    """Our runtimes."""
    shape: tuple[int, int, int] = (20, 128, 128)
    """Voxels (z, y, x) of the volume, at 4 x 0.9 x 0.7 mm."""
    small: bool = False
    """Narrow networks, two folds in 3-D: the same comparison, but its times mean little."""
    threads: int = 1
    repeats: int = 2
    out: Path | None = None
    """A Markdown file for the table."""


def main(args: Args) -> int:
    rows: list[tuple[str, ...]] = []
    agree = True
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_volume(folder / "images", args.shape)
        for configuration in args.configurations:
            made = (SMALL if args.small else NETWORKS)[configuration]
            model, ours = folder / configuration, folder / f"{configuration}-converted"
            _run(args, [args.nnunet_python, SIDE, "make", model, configuration, *made])
            _run(args, [sys.executable, "-m", "unet_tools.cli", "convert", model, ours])
            found, same = _compare(args, folder, configuration, model, ours)
            rows, agree = rows + found, agree and same
    columns = ("network", "runtime", "seconds", "times as fast", "CPU seconds", "by these", "peak MiB", "labels differ",
               "probabilities", "over 1e-4", "beyond rounding", "labels, float32 sums", "probabilities")  # fmt: skip
    print_table("nnU-Net and ours", columns, rows, right="2 3 4 5 6 7 8 9 10 11 12")
    if args.out is not None:
        lines = ["# nnU-Net's predictor and ours", "", _where(args), ""]
        lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        with writing(args.out) as new:
            new.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0 if agree else 1


def _compare(
    args: Args, folder: Path, configuration: str, model: Path, ours: Path
) -> tuple[list[tuple[str, ...]], bool]:
    """Rows of the table, and whether our result is nnU-Net's; speed does not count for the latter.

    In PyTorch, whose kernels nnU-Net uses, the results are compared directly. In other runtimes, float16 sums turn a
    difference in the last bit into one in the fourth digit. There, nnU-Net's probabilities must lie within the bounds
    that its rounding gives for our logits (`benchmarks.nnunet.rounding`). With float32 sums on both sides, labels must
    be equal except at voxels whose two best classes differ by at most `BOUND`.
    """
    images = folder / "images"
    best: dict[str, dict[str, float]] = {}
    for _ in range(args.repeats):
        for name in ("nnU-Net", *args.runtimes):
            out = folder / f"{configuration}-{name}"
            if name == "nnU-Net":
                command = [args.nnunet_python, SIDE, "predict", model, images, out, "--threads", str(args.threads)]
            else:
                command = [sys.executable, "-m", "benchmarks.nnunet.compare", "worker", ours, images, out, name]
            found = _run(args, command)
            best[name] = {key: min(value, best.get(name, found)[key]) for key, value in found.items()}
    exact, float32, other = (folder / f"{configuration}-p{kind}" for kind in ("", "32", "-other"))
    side = [args.nnunet_python, SIDE, "predict", model, images]
    more = ["--probabilities", "--threads", str(args.threads)]
    _run(args, [*side, exact, *more])
    _run(args, [*side, float32, "--float32", *more])
    _run(args, [*side, other, "--channels-last", *more])
    references = [np.load(p / "case.npz")["probabilities"] for p in (exact, float32)]
    labels = _read(exact / "case.nii.gz")
    own = best["nnU-Net"]

    def costs(name: str) -> tuple[str, ...]:
        found = best[name]
        ratios = [own[key] / found[key] for key in ("seconds", "cpu_seconds")]
        return (
            f"{found['seconds']:.1f}",
            f"{ratios[0]:.2f}",
            f"{found['cpu_seconds']:.1f}",
            f"{ratios[1]:.2f}",
            f"{found['peak_bytes'] / 2**20:.0f}",
        )

    difference = f"{np.abs(references[0] - references[1]).max():.1e}"
    rows = [(configuration, "nnU-Net", *costs("nnU-Net"), "", "", "", "", "", difference)]
    again = np.abs(np.load(other / "case.npz")["probabilities"] - references[0])
    relabelled = int((_read(other / "case.nii.gz") != labels).sum())
    rows.append((configuration, "nnU-Net, channels_last", *[""] * 5, str(relabelled), *_apart(again), "", "", ""))
    agree = True
    for name in args.runtimes:
        differ = int((_read(folder / f"{configuration}-{name}" / "case.nii.gz") != labels).sum())
        distances, differences, beyond = [], [], 0
        for kind, reference in zip(("half", "float32"), references, strict=True):
            out = folder / f"{configuration}-{name}-{kind}.npz"
            _run(args, [sys.executable, "-m", "benchmarks.nnunet.compare", "worker", ours, images, out, name, kind])
            with np.load(out) as file:
                chances = file["chances"]
                if kind == "half":
                    beyond = int(((reference < file["low"]) | (reference > file["high"])).sum())
            distances.append(np.abs(chances - reference))
            differences.append(chances.argmax(0) != reference.argmax(0))
        found = (str(differ), *_apart(distances[0]), str(beyond))
        found += (str(int(differences[1].sum())), f"{distances[1].max():.1e}")
        rows.append((configuration, name, *costs(name), *found))
        if name == "torch":
            agree &= differ == 0 and bool(distances[0].max() <= BOUND)
        else:
            level = np.subtract(*np.sort(references[1], axis=0)[:-3:-1]) <= BOUND
            agree &= beyond == 0 and not (differences[1] & ~level).any() and bool(distances[1].max() <= BOUND)
    return rows, agree


def _apart(distance: np.ndarray) -> tuple[str, str]:
    """The largest distance, and how many distances are above `BOUND`."""
    return f"{distance.max():.1e}", f"{int((distance > BOUND).sum())} of {distance.size}"


def worker(model: Path, images: Path, out: Path, runtime: RuntimeName, accumulate: str | None = None) -> None:
    """Writes labels as NIfTI into the folder `out`, or, with `accumulate`, probabilities into the .npz file `out`."""
    from unet_data.nnunet import find_cases, find_plans, predict_case, predict_nifti, read_nifti
    from unet_tools.prediction.nnunet_folder import choose_cases, open_folds

    from .rounding import probabilities_and_bounds

    plans = find_plans(model)
    assert plans is not None
    networks = open_folds(model, plans, runtime)
    if accumulate is None:
        cases = choose_cases(plans, [images], out, overwrite=True).values()
        done = [predict_nifti(networks, files, target, plans) for files, target in cases]
        found = {"seconds": sum(case.seconds for case in done), "cpu_seconds": sum(case.cpu_seconds for case in done)}
        print("RESULT " + json.dumps(found | {"peak_bytes": peak_resident()}))
        return
    ((_, files),) = find_cases([images], len(plans.channel_names)).items()
    image = read_nifti(files)
    runs = [network.run for network in networks]
    if accumulate == "half":
        chances, low, high = probabilities_and_bounds(runs, image.values, image.spacing, plans)
        np.savez(out, chances=chances, low=low, high=high)
    else:
        np.savez(
            out,
            chances=predict_case(
                runs, image.values, image.spacing, plans, "probabilities", plans.window(accumulate="float32")
            ),
        )


def make_volume(folder: Path, shape: tuple[int, int, int]) -> None:
    """Writes a case of two channels, (z, y, x) voxels at 4 x 0.9 x 0.7 mm: a ball in empty space, and noise."""
    from scipy.ndimage import gaussian_filter

    nibabel = import_nibabel()
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    affine = np.diag([0.7, 0.9, 4.0, 1.0])
    affine[:3, 3] = (-30, 20, 5)
    place = np.mgrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    ball = (place**2).sum(0) < 0.9
    channels = [
        (gaussian_filter(rng.normal(size=shape), 1.5) * 1500 + 400) * ball,
        gaussian_filter(rng.normal(size=shape), 1.0) * 300,
    ]
    for number, values in enumerate(channels):
        values[:, 0] = 0
        image = nibabel.Nifti1Image(np.round(values).astype(np.int16).T, affine)
        nibabel.save(image, folder / f"case_{number:04d}.nii.gz")


def _run(args: Args, command: list[Any]) -> dict[str, Any]:
    """Runs a child process on `threads` cores. Returns the JSON of its line RESULT."""
    cores = sorted(os.sched_getaffinity(0))[: args.threads]
    done = subprocess.run(
        [str(part) for part in command],
        env=os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(args.threads)),
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InputError(f"{' '.join(map(str, command[:4]))} … fails: {(done.stderr.strip() or '?').splitlines()[-1]}")
    results = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return json.loads(results[-1].removeprefix("RESULT ")) if results else {}


def _read(path: Path) -> np.ndarray:
    return np.asarray(import_nibabel().load(path).dataobj)


def _where(args: Args) -> str:
    version = subprocess.run(
        [args.nnunet_python, "-c", "from importlib.metadata import version as v; print(v('nnunetv2'), v('torch'))"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    model = next(
        (s.split(":")[1].strip() for s in Path("/proc/cpuinfo").read_text().splitlines() if s.startswith("model name")),
        platform.machine(),
    )
    return (
        f"nnunetv2 {version[0]}, torch {version[1]}; {args.threads} core{'s' * (args.threads > 1)} of {model}; volume"
        f" {'x'.join(map(str, args.shape))} at 4 x 0.9 x 0.7 mm; the fastest of {args.repeats}, in turns. Seconds from"
        " NIfTI to NIfTI, mirroring on. Probabilities: the largest distance from nnU-Net's; over 1e-4: how many"
        " values. channels_last: nnU-Net against itself, its weights in that layout. Beyond rounding: how many of"
        " nnU-Net's values no logits within 1e-5 of ours (of the largest) give under its float16 sums. Last columns:"
        " the same where both sum in float32 rather than nnU-Net's float16; in nnU-Net's row, how far its float16 is"
        " from its float32."
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(*map(Path, sys.argv[2:5]), *sys.argv[5:])  # type: ignore[arg-type]
    else:
        start("nnunet.compare", Args, main, __doc__)
