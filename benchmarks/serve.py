"""The HTTP service of examples/serve under load: answers, seconds, memory.

    python -m benchmarks.serve [--requests 200] [--out serve.json]

Starts the service, sends requests of mixed sizes at once, every eighth one bad, and compares each answer with the
labels that the predictor gives in this process. A request that finds the queue full is sent again after a moment.
"""

from __future__ import annotations

import http.client
import io
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unet_export import BundleSettings, load, write_bundle
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.console import console, print_table

from .record import record_of, start, write_record

ROOT = Path(__file__).resolve().parent.parent
SIZES = (64, 128, 192, 256, 384, 512)


@dataclass(frozen=True)
class Args:
    requests: int = 200
    """Requests, all sent at once."""
    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    """Channels of each level of the network "same"."""
    out: Path | None = None
    """A JSON file for the results."""


@dataclass(frozen=True)
class Server:
    """A running service."""

    port: int
    pid: int

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "image/png") -> tuple[int, bytes, Any]:
        """Status, body and headers of the answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)) as connection:
            connection.request(method, path, body, {"Content-Type": kind})
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers

    def memory(self, key: str = "VmRSS") -> int:
        """Bytes that the service has in memory now, or had at its peak ("VmHWM")."""
        found = re.search(rf"{key}:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) * 1024 if found else 0


@contextmanager
def serving(bundles: str, **limits: str) -> Iterator[Server]:
    """Runs the service. bundles, limits: environment variables that README.md beside it explains."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--app-dir", "examples/serve", "serve:app", "--port", str(port)]
    environment = os.environ | {"UNET_BUNDLES": bundles} | limits
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=said)
        server = Server(port, process.pid)
        try:
            end = time.monotonic() + 120
            while not _answers(server):
                if process.poll() is not None or time.monotonic() > end:
                    said.seek(0)
                    raise RuntimeError(f"the service did not start: {said.read()}")
                time.sleep(0.1)
            yield server
        finally:
            process.terminate()
            process.wait(60)
        said.seek(0)
        if "Traceback" in (text := said.read()):
            raise RuntimeError(f"the service printed a traceback: {text}")


def _answers(server: Server) -> bool:
    try:
        return server.ask("GET", "/health")[0] == 200
    except OSError:
        return False


def png(image: np.ndarray) -> bytes:
    """An image (H, W) or (H, W, 3) uint8 as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def main(args: Args) -> int:
    config = preset("same", widths=args.widths)
    checkpoint = Checkpoint(config, random_tensors(config.graph, 0), DataSpec((0.5,), (0.3,)))
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, rng.choice(SIZES, 2), np.uint8) for _ in range(args.requests)]
    bodies = [png(image)[: 40 if k % 8 == 7 else None] for k, image in enumerate(images)]
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_bundle(checkpoint, Path(folder) / "bundle", BundleSettings(engines=False))
        with load(bundle, "onnx") as predictor:
            expected = [predictor.labels(image[None, ..., None])[0] for image in images]
        full = Counter[str]()

        def ask(body: bytes) -> tuple[int, bytes, float]:
            begun = time.monotonic()
            while True:
                status, answer, _ = server.ask("POST", "/models/same", body)
                if status != 503:
                    return status, answer, time.monotonic() - begun
                full["503"] += 1
                time.sleep(0.2)

        with serving(f"same={bundle.folder}") as server:
            before = server.memory()
            alone = sorted(ask(body)[2] for k, body in enumerate(bodies[:40]) if k % 8 != 7)
            begun = time.monotonic()
            with ThreadPoolExecutor(args.requests) as pool:
                answers = list(pool.map(ask, bodies))
            whole = time.monotonic() - begun
            peak = server.memory("VmHWM")
    wrong = sum(
        status != 400
        if k % 8 == 7
        else status != 200 or not np.array_equal(np.asarray(Image.open(io.BytesIO(body))), labels)
        for k, ((status, body, _), labels) in enumerate(zip(answers, expected, strict=True))
    )
    waited = [seconds for status, _, seconds in answers if status == 200]
    line: dict[str, Any] = {
        "requests": args.requests,
        "bad_requests": sum(k % 8 == 7 for k in range(args.requests)),
        "wrong_answers": wrong,
        "sent_again_as_the_queue_was_full": full["503"],
        "seconds_alone_p50": float(np.median(alone)),
        "seconds_p50": float(np.percentile(waited, 50)),
        "seconds_p99": float(np.percentile(waited, 99)),
        "images_per_second": len(waited) / whole,
        "bytes_before": before,
        "bytes_peak": peak,
    }
    print_table(None, ("", "service"), [(key, f"{value:,.3f}".rstrip("0").rstrip(".")) for key, value in line.items()])
    document = record_of("serve", network={"preset": "same", "widths": args.widths}, sizes=SIZES, line=line)
    console.print(document["hardware"])
    if args.out is not None:
        write_record(args.out, document)
    return 1 if wrong else 0


if __name__ == "__main__":
    start("serve", Args, main, __doc__)
