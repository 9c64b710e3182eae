"""The HTTP service of examples/serve under load: correctness of the answers, seconds, memory.

    python -m benchmarks.serve [--requests 200] [--triton PYTHON] [--out serve.json]

Starts the service and sends requests of mixed sizes at once; every eighth one is bad. Each answer is compared with the
predictor's labels in this process. A request that is rejected because the queue is full is sent again.

With --triton, Triton also serves the bundle's ensemble on the CPU (`examples/triton_server/serve_cpu.py`). It receives
the same images as raw bytes, while the service receives PNG files.
"""

from __future__ import annotations

import http.client
import io
import json
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
    """Number of requests, all sent at once."""
    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    """Channels of each level of the network "same"."""
    triton: Path | None = None
    """The interpreter of an environment with nvidia-pytriton, tritonclient[grpc] and onnxruntime."""
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

    def infer(self, image: np.ndarray, complete: bool) -> tuple[int, np.ndarray | None]:
        """Status and labels of an image (H, W) uint8 by Triton's protocol.

        If not `complete`, only the first half of the image is sent.
        """
        content = image.tobytes()[: None if complete else image.size // 2]
        given = {"name": "image", "datatype": "UINT8", "shape": [1, *image.shape, 1]}
        given["parameters"] = {"binary_data_size": len(content)}
        outputs = [{"name": "labels", "parameters": {"binary_data": True}}]
        header = json.dumps({"inputs": [given], "outputs": outputs}).encode()
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)) as connection:
            length = {"Inference-Header-Content-Length": str(len(header))}
            connection.request("POST", "/v2/models/unet/infer", header + content, length)
            answer = connection.getresponse()
            body = answer.read()
        if answer.status != 200:
            return answer.status, None
        start = int(answer.headers["Inference-Header-Content-Length"])
        return 200, np.frombuffer(body[start:], np.uint8).reshape(image.shape)

    def memory(self, key: str = "VmRSS") -> int:
        """Bytes that the service has in memory now ("VmRSS") or had at its peak ("VmHWM")."""
        found = re.search(rf"{key}:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) * 1024 if found else 0


@contextmanager
def serving_triton(python: Path, bundle: Path) -> Iterator[Server]:
    """Runs Triton on the CPU. Raises RuntimeError if it does not start."""
    port = _free_port()
    command = [str(python), "examples/triton_server/serve_cpu.py", str(bundle), "--port", str(port)]
    with _started(command, port, "Triton", "/v2/models/unet/ready") as server:
        yield server


@contextmanager
def _started(
    command: list[str],
    port: int,
    name: str,
    ready: str,
    environment: dict[str, str] | None = None,
    strict: bool = False,
) -> Iterator[Server]:
    """Starts a server, waits until it answers the path `ready`, and ends it after the block.

    Raises RuntimeError if it does not start within two minutes or, if `strict`, if it printed a traceback.
    """
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
        server = Server(port, process.pid)
        try:
            end = time.monotonic() + 120
            while not _answers(server, ready):
                if process.poll() is not None or time.monotonic() > end:
                    output.seek(0)
                    raise RuntimeError(f"{name} did not start: {output.read()[-2000:]}")
                time.sleep(0.1)
            yield server
        finally:
            process.terminate()
            process.wait(60)
        output.seek(0)
        if strict and "Traceback" in (text := output.read()):
            raise RuntimeError(f"{name} printed a traceback: {text}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def serving(bundles: str, **limits: str) -> Iterator[Server]:
    """Runs the service. `bundles` and `limits` are environment variables, which README.md beside it explains."""
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "--app-dir", "examples/serve", "serve:app", "--port", str(port)]
    environment = os.environ | {"UNET_BUNDLES": bundles} | limits
    with _started(command, port, "the service", "/health", environment, strict=True) as server:
        yield server


def _answers(server: Server, path: str) -> bool:
    try:
        return server.ask("GET", path)[0] == 200
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
        triton = None if args.triton is None else _triton(args.triton, bundle.folder, images, expected)
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
    beside = {} if triton is None else {"triton": triton}
    rows = [(key, *(_shown(column.get(key)) for column in (line, *beside.values()))) for key in line]
    print_table(None, ("", "service", *beside), rows, right="1 2")
    document = record_of("serve", network={"preset": "same", "widths": args.widths}, sizes=SIZES, line=line, **beside)
    console.print(document["hardware"])
    if args.out is not None:
        write_record(args.out, document)
    return 1 if wrong or (triton or {}).get("wrong_answers") else 0


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:,.3f}".rstrip("0").rstrip(".")


def _triton(python: Path, bundle: Path, images: list[np.ndarray], expected: list[np.ndarray]) -> dict[str, Any]:
    """The same requests to Triton."""

    def ask(k: int) -> tuple[bool, bool, float]:
        """Whether labels were returned, whether the answer is right, and its seconds."""
        begun, good = time.monotonic(), k % 8 != 7
        status, labels = server.infer(images[k], good)
        right = labels is not None and np.mean(labels == expected[k]) > 0.999 if good else 400 <= status < 500
        return labels is not None, bool(right), time.monotonic() - begun

    with serving_triton(python, bundle) as server:
        alone = [ask(k)[2] for k in range(min(40, len(images))) if k % 8 != 7]
        begun = time.monotonic()
        with ThreadPoolExecutor(len(images)) as pool:
            answers = list(pool.map(ask, range(len(images))))
        whole = time.monotonic() - begun
    waited = [seconds for answered, _, seconds in answers if answered]
    return {
        "requests": len(images),
        "bad_requests": sum(k % 8 == 7 for k in range(len(images))),
        "wrong_answers": sum(not right for _, right, _ in answers),
        "sent_again_as_the_queue_was_full": 0,
        "seconds_alone_p50": float(np.median(alone)),
        "seconds_p50": float(np.percentile(waited, 50)),
        "seconds_p99": float(np.percentile(waited, 99)),
        "images_per_second": len(waited) / whole,
    }


if __name__ == "__main__":
    start("serve", Args, main, __doc__)
