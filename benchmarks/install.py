"""Size of each extra's installation, and the time of its import.

    python -m benchmarks.install [--extras jax torch onnx] [--rounds 7] [--out install.json]

Each extra is installed from this checkout into a fresh virtual environment, with the versions of constraints.txt. The
size is that of its site-packages, without pip. An import is timed in a new process, after one that is not counted. The
fastest round is reported, in processor and wall-clock seconds, because other load only adds to both.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unet_spec import InputError
from unet_tools.console import console, print_table

from .record import record_of, start, write_record

ROOT = Path(__file__).resolve().parent.parent
IMPORTS = {
    "none": ("from unet_data import prepare", "import numpy"),
    "jax": ("from unet_jax import UNet", "import jax"),
    "torch": ("from unet_torch import UNet", "import torch"),
    "onnx": ("from unet_export import load; import onnxruntime", "import onnxruntime"),
}
"""For each extra, the import that its user writes, and the import of the largest package that it needs."""

_TIMED = """
import time
clock, processor = time.perf_counter(), time.process_time()
{statement}
print(time.process_time() - processor, time.perf_counter() - clock)
"""


@dataclass(frozen=True)
class Args:
    extras: tuple[str, ...] = ("none", "jax", "torch", "onnx")
    """Extras of the package; none is the package without any."""
    rounds: int = 7
    """Number of times that each import is timed."""
    out: Path | None = None
    """A JSON file for the results."""


def run(*command: str | Path) -> str:
    """Runs a command and returns what it prints. Raises InputError with the last line of its errors if it fails."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise InputError(f"{command[0]} failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    return done.stdout


def environment(folder: Path, wheel: Path, extra: str) -> Path:
    """Makes an environment with the package and an extra. Returns its interpreter."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    what = str(wheel) if extra == "none" else f"{wheel}[{extra}]"
    pip = (sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--disable-pip-version-check")
    run(*pip, "-c", ROOT / "constraints.txt", what)
    return python


def size_of(python: Path) -> tuple[int, int]:
    """Bytes and number of packages in the site-packages of an environment."""
    (packages,) = python.parent.parent.glob("lib/python*/site-packages")
    files = [path for path in packages.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(path.stat().st_size for path in files), len(list(packages.glob("*.dist-info")))


def import_seconds(python: Path, statement: str, rounds: int) -> tuple[float, float]:
    """The minimum of the processor and of the wall-clock seconds of an import in a new process."""
    code, found = _TIMED.format(statement=statement), []
    for _ in range(rounds + 1):
        processor, clock = run(python, "-I", "-c", code).split()
        found.append((float(processor), float(clock)))
    fastest = [min(column) for column in zip(*found[1:], strict=True)]
    return fastest[0], fastest[1]


def measured(folder: Path, wheel: Path, extra: str, rounds: int) -> dict[str, Any]:
    """The row of one extra."""
    ours, theirs = IMPORTS[extra]
    python = environment(folder, wheel, extra)
    size, packages = size_of(python)
    processor, clock = import_seconds(python, ours, rounds)
    alone = import_seconds(python, theirs, rounds)[0]
    return {
        "extra": extra,
        "bytes": size,
        "packages": packages,
        "import": ours,
        "processor_seconds": processor,
        "seconds": clock,
        "largest_package": theirs,
        "processor_seconds_of_largest_package": alone,
    }


def main(args: Args) -> int:
    if unknown := [extra for extra in args.extras if extra not in IMPORTS]:
        raise InputError(f"no import is known for the extra {unknown[0]}; allowed: {', '.join(IMPORTS)}")
    if args.rounds < 1:
        raise InputError(f"--rounds is {args.rounds}; it must be at least 1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "source"  # a copy of the tracked files: building a wheel leaves files in its source
        source.mkdir()
        run("git", "checkout-index", "--all", f"--prefix={source}/")
        run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, source)
        (wheel,) = folder.glob("*.whl")
        lines = [measured(folder / f"venv-{extra}", wheel, extra, args.rounds) for extra in args.extras]
        wheel_bytes = wheel.stat().st_size
    shown = [
        (
            x["extra"],
            f"{x['bytes'] / 1e6:,.0f}",
            x["packages"],
            x["import"],
            f"{x['processor_seconds']:.2f}",
            f"{x['seconds']:.2f}",
            f"{x['processor_seconds'] / x['processor_seconds_of_largest_package']:.1f} of {x['largest_package']}",
        )
        for x in lines
    ]
    columns = ("extra", "MB", "packages", "import", "processor s", "clock s", "ratio")
    print_table(None, columns, shown, right="1 2 4 5")
    document = record_of("install", wheel_bytes=wheel_bytes, lines=lines)
    console.print(document["hardware"])
    if args.out is not None:
        write_record(args.out, document)
    return 0


if __name__ == "__main__":
    start("install", Args, main, __doc__)
