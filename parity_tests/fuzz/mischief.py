"""Programs that break what commands promise, one promise each: whether the fuzzer sees them. Prints JSON.

Run as a program, since children are forked from a process without threads.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .judge import state, verdicts
from .server import Limits, run

LIMITS = Limits(memory=2**27, processor=1, seconds=3)


def well() -> int:
    Path("out/r.npy").write_bytes(_npy())
    print("fine")
    return 0


def refused() -> int:
    print("unet: no", file=sys.stderr)
    return 2


def raises() -> int:
    raise KeyError("x")


def exits() -> int:
    return 7


def segfault() -> int:
    os.kill(os.getpid(), signal.SIGSEGV)
    return 0


def sleeps() -> int:
    time.sleep(60)
    return 0


def computes() -> int:
    while True:
        pass


def grows() -> int:
    held = [b"x" * 2**20 for _ in range(2**9)]
    return refused() if held else 0


def jumps() -> int:
    """Too short to be seen on the way."""
    held = bytearray(2**28)
    held[:: 2**12] = b"x" * 2**16
    del held
    return refused()


def colours() -> int:
    print("unet: \x1b[31mred", file=sys.stderr)
    return 2


def talks() -> int:
    print("unet: " + "x" * 400, file=sys.stderr)
    return 2


def is_silent() -> int:
    return 2


def escapes() -> int:
    Path("escaped.sh").touch()
    return refused()


def litters() -> int:
    Path("tmp/left").touch()
    return refused()


def leaves_half() -> int:
    Path("out/r.npy").write_bytes(_npy()[:40])
    return refused()


def writes_half() -> int:
    Path("out/r.npy").write_bytes(_npy()[:-1])
    return 0


def writes_nothing() -> int:
    return 0


def changes_its_input() -> int:
    Path("in/i.npy").write_bytes(b"y")
    return well()


def loses_its_input() -> int:
    Path("in/i.npy").unlink()
    return refused()


def _npy() -> bytes:
    import io

    import numpy as np

    stream = io.BytesIO()
    np.save(stream, np.zeros(9))
    return stream.getvalue()


EXPECTED: dict[Callable[[], int], str] = {
    well: "", refused: "", raises: "traceback", exits: "exit code 7", segfault: "exit code -11", sleeps: "hang",
    computes: "hang", grows: "memory", jumps: "memory", colours: "control characters", talks: "lines: 1 of up to 406",
    is_silent: "no message", escapes: "outside of OUT: 'escaped.sh'", litters: "outside of OUT: 'tmp/left'",
    leaves_half: "left over: r.npy", writes_half: "not whole: r.npy", writes_nothing: "nothing written",
    changes_its_input: "inputs changed", loses_its_input: "inputs changed",
}  # fmt: skip


def main() -> None:
    found = {}
    for work in EXPECTED:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary).resolve()
            for name in ("in", "out"):
                (folder / name).mkdir()
            (folder / "in/i.npy").write_bytes(b"x")
            before = state(folder / "in")
            ended = run(work, folder, LIMITS)
            found[work.__name__] = "; ".join(verdicts(ended, folder, before, writes=True, refused=False))
            if work is well:
                found["accepts"] = "; ".join(verdicts(ended, folder, before, writes=True, refused=True))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
