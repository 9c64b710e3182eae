"""Measures one runtime in a separate process: `python -m unet_tools.prediction.runtimes.trial JOB.json`.

In a separate process, the imports of a runtime do not use memory of the prediction, and a compilation that takes too
long can be stopped. The job names the network, the runtime and an input; logits and answer are written to its folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec import InputError
from unet_spec.files import first_line
from unet_spec.untrusted.strict_json import read_object

SECONDS = 1.0
"""Seconds for the measured runs of a runtime."""
_INPUT, _LOGITS, _ANSWER = "input.npy", "logits.npy", "answer.json"


class TooSlowError(InputError):
    """A runtime was not ready within the time limit."""


@dataclass(frozen=True)
class Trial:
    """The result of one trial.

    Attributes:
        prepare: seconds from the import to the first logits, including compilation.
        seconds: the fastest of the later runs.
        logits: logits of the input.
    """

    prepare: float
    seconds: float
    logits: np.ndarray


def measure(network: Path, runtime: str, x: np.ndarray, limit: float) -> Trial:
    """Runs a network on an input repeatedly, for about a second.

    Args:
        network: a checkpoint or a bundle.
        runtime: a name of `RuntimeName`.
        x: (1, *spatial, C) float32, normalised, on the network's grid.
        limit: seconds within which it must be ready.

    Raises:
        TooSlowError: it was not ready in time.
        InputError: it does not run here, or its process ended.
    """
    with tempfile.TemporaryDirectory(prefix="unet-runtime-") as name:
        folder = Path(name)
        np.save(folder / _INPUT, x)
        job = folder / "job.json"
        job.write_text(json.dumps({"network": str(network.absolute()), "runtime": runtime}), encoding="utf-8")
        command = [sys.executable, "-P", "-m", __name__, str(job)]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            _, errors = process.communicate(timeout=limit + SECONDS)
        except subprocess.TimeoutExpired:
            raise TooSlowError(f"{runtime} was not ready after {limit:.0f} s") from None
        finally:
            process.kill()
            process.communicate()
        if not (folder / _ANSWER).exists():
            last = errors.strip().splitlines()[-1:] or ["it printed nothing"]
            raise InputError(f"its process ended with exit code {process.returncode}: {last[0][:200]}")
        answer = read_object(folder / _ANSWER)
        if "error" in answer:
            raise InputError(answer["error"])
        return Trial(answer["prepare"], answer["seconds"], np.load(folder / _LOGITS))


def main(path: Path) -> None:
    """Runs a job and writes its answer to the job's folder."""
    job, x = read_object(path), np.load(path.with_name(_INPUT))
    start = time.perf_counter()
    try:
        from ...arguments.runtimes import open_network

        run = open_network(Path(job["network"]), job["runtime"]).run
        logits = run(x)
        prepare = time.perf_counter() - start
        answer: dict[str, Any] = {"prepare": prepare, "seconds": fastest(run, x)}
        np.save(path.with_name(_LOGITS), logits)
    except InputError as e:
        answer = {"error": first_line(e)}
    path.with_name(_ANSWER).write_text(json.dumps(answer), encoding="utf-8")


def fastest(run: Callable[[np.ndarray], object], x: np.ndarray, seconds: float = SECONDS) -> float:
    """The minimum time of the runs within `seconds`, of at least one run, since other load on the machine only adds
    time."""
    times: list[float] = []
    while sum(times) < seconds:
        start = time.perf_counter()
        run(x)
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
