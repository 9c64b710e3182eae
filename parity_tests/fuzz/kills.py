"""`unet predict` that dies in the middle of a write, finds the disk full, loses its folder, or is not alone.

Prints JSON: what is wrong, by format, and how often a process died. Run as a program: children are forked from a
process without threads. A process dies at byte N of a file (SIGXFSZ, which nobody catches) or at the Nth time that a
finished file gets its name (SIGKILL, just before or just after).
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from unet_spec.files import remove

from . import server
from .judge import state

FORMATS = ("r.npy", "r.tif", "large.tif", "r.zarr", "r.png")
SIZE = (150, 140)


def main() -> None:
    server.warm(["predict"])
    found: dict[str, list[str]] = {}
    died = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        made = server.run(lambda: _material(folder), folder / "making")
        assert made.code == 0, made.err
        for name in sys.argv[1:] or FORMATS:
            wrong = found.setdefault(name, [])
            work = folder / name
            calm = _predicted(folder, folder / "calm" / name / name)
            assert not calm.code, calm.err
            for what, spoil in deaths(name):
                ended = _predicted(folder, work / name, spoil)
                died += ended.code < 0
                if (work / name).exists():
                    if not _same(work, folder, name, part=True):
                        wrong.append(f"{what}: there, but not whole")
                    remove(work / name)
            ended = _predicted(folder, work / name)
            if ended.code:
                wrong.append(f"not resumed: {ended.err[-200:]}")
            elif not _same(work, folder, name):
                wrong.append("another result, or something left over")
            for what, spoil in failures(work / f"{name}.part"):
                (work / name).rename(work / "old") if what == "full" else None
                ended = _predicted(folder, work / name, spoil, "--overwrite")
                lines = ended.err.splitlines()
                if (
                    ended.code not in (0, 1, 2)
                    or "Traceback" in ended.err
                    or len(lines[-1:]) != 1
                    or len(lines[-1]) > 300
                ):
                    wrong.append(f"{what}: {ended.code} {ended.err[-300:]}")
                if what == "full":
                    (work / "old").rename(work / name) if not (work / name).exists() else None
                shutil.rmtree(work / f"{name}.part", ignore_errors=True)
            shutil.rmtree(work)
            wrong += two_at_once(folder, work, name)
    print(json.dumps({"wrong": found, "died": died}))


def deaths(name: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """What ends a process, and where."""
    for size in (1, 200, 3000, 20_000, 60_000):
        yield f"at byte {size}", lambda size=size: _dies_at_byte(size)
    for number in (1, 2, 4):
        yield f"before name {number}", lambda number=number: _dies_at_name(number, False)
        yield f"after name {number}", lambda number=number: _dies_at_name(number, True)


def failures(part: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    yield "full", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))
    yield "vanishing", lambda: _vanishes(part)


def two_at_once(folder: Path, work: Path, name: str) -> list[str]:
    """Both run the same command; the second begins when the first has written two tiles."""

    def both() -> int:
        second = os.fork()
        if second == 0:
            os._exit(_run(folder, work / name, "--overwrite"))
        first = _run(folder, work / name, "--overwrite")
        return max(first, os.waitstatus_to_exitcode(os.waitpid(second, 0)[1]))

    ended = server.run(both, work / "case")
    shutil.rmtree(work / "case")
    if ended.code not in (0, 1, 2) or "Traceback" in ended.err:
        return [f"two at once: {ended.code} {ended.err[-300:]}"]
    shutil.rmtree(work / f"{name}.part", ignore_errors=True)
    return [] if _same(work, folder, name) else [f"two at once: {sorted(_state(work))}"]


def _same(work: Path, folder: Path, name: str, part: bool = False) -> bool:
    """Whether the result is the undisturbed one, and nothing lies beside it (part: but tiles and temporary files)."""
    found, calm = _state(work), _state(folder / "calm" / name)
    return all(found.get(k) == v for k, v in calm.items()) and (part or len(found) == len(calm))


def _state(folder: Path) -> dict[str, str]:
    return {k: v for k, v in state(folder).items() if not k.startswith("case")}


def _dies_at_byte(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _dies_at_name(number: int, after: bool) -> None:
    real, count = os.replace, [0]

    def replace(*arguments: object) -> None:
        count[0] += 1
        if count[0] == number and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*arguments)  # type: ignore[arg-type]
        if count[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace


def _vanishes(part: Path) -> None:
    real, count = os.fsync, [0]

    def fsync(file: int) -> None:
        count[0] += 1
        if count[0] == 2:
            shutil.rmtree(part)
        real(file)

    os.fsync = fsync


def _material(folder: Path) -> int:
    from unet_spec import Checkpoint, preset, random_tensors

    config = preset("same", widths=(2, 3))
    Checkpoint(config, random_tensors(config.graph, 0)).save(folder / "net")
    np.save(folder / "i.npy", np.random.default_rng(0).integers(0, 255, SIZE).astype(np.uint8))
    return 0


def _predicted(folder: Path, out: Path, spoil: Callable[[], None] = lambda: None, *more: str) -> server.Ended:
    case = out.parent / "case"
    case.mkdir(parents=True, exist_ok=True)

    def work() -> int:
        spoil()
        return _run(folder, out, *more)

    ended = server.run(work, case)
    shutil.rmtree(case)
    return ended


def _run(folder: Path, out: Path, *more: str) -> int:
    from unet_data.io import writers
    from unet_tools.cli import main as unet

    if out.name.startswith("large"):
        writers.WHOLE_BELOW = 0
    kind = [] if out.suffix == ".png" else ["--output", "probabilities"]
    command = [
        "predict",
        folder / "net",
        folder / "i.npy",
        "-o",
        out,
        "--runtime",
        "onnx",
        "--tile",
        "64",
        *kind,
        *more,
    ]
    return unet(list(map(str, command)))


if __name__ == "__main__":
    main()
