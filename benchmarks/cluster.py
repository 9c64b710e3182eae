"""Cost and fault tolerance of a Dask cluster: one huge OME-Zarr in an object store, and a folder of many small images.

An object store (moto's server, loopback only) holds an OME-Zarr. It is segmented by one process and by a cluster of
worker processes of which two are killed. Both results are OME-Zarrs in the store and must have equal bytes. The same is
done with a folder of many small images, one of them damaged. Needs the extras remote and dask, and moto[server].

    python -m benchmarks.cluster -o FILE.json                          full size: 20,000 x 20,000 pixels, 10,000 images
    python -m benchmarks.cluster -o FILE.json --side 600 --images 30   small
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from unet_data.io.stores import remote
from unet_spec import Checkpoint, DataSpec, random_tensors
from unet_spec.families.unet import PRESETS
from unet_tools.cli import main as unet
from unet_tools.console import print_table
from unet_tools.prediction.cluster import cluster

from .record import record_of, start, write_record

CHUNK = 512


@contextmanager
def object_store() -> Iterator[Path]:
    """Starts moto's server on this machine, points fsspec's environment variables at it and gives a bucket's path."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        remote.filesystem(Path("s3://bench/x"))[0].mkdir("bench")
        yield Path("s3://bench")
    finally:
        server.terminate()
        server.wait()


def put_image(path: Path, side: int) -> None:
    """Writes noise as an OME-Zarr of one level, chunk by chunk."""
    import zarr

    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [0.5, 0.5]}]}
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}
    group = zarr.create_group(remote.zarr_store(path, False), attributes={"ome": ome})
    chunk = min(CHUNK, side)
    array = group.create_array("0", shape=(side, side), chunks=(chunk, chunk), dtype=np.uint8)
    rng = np.random.default_rng(0)
    for top in range(0, side, chunk):
        rows = min(chunk, side - top)
        array[top : top + rows] = rng.integers(0, 255, (rows, side), np.uint8)


def stored(path: Path) -> dict[str, bytes]:
    """The files below a URL or in a folder, by name."""
    if remote.url_of(path) is None:
        return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    fs, root = remote.filesystem(path)
    fs.invalidate_cache()
    return {name.removeprefix(f"{root}/"): fs.cat_file(name) for name in fs.find(root)}


@contextmanager
def killing(client: Any, times: int, every: float) -> Iterator[list[int]]:
    """Kills `times` workers, one every `every` seconds, while the block runs. Gives the ids of the killed processes."""
    over, killed = threading.Event(), []

    def kill() -> None:
        while len(killed) < times and not over.wait(every):
            pid = next(iter(client.run(os.getpid).values()))
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def compared(command: list[str], near: Path, far: Path, workers: int, expected: int) -> dict[str, Any]:
    """Seconds of the local run and of the cluster, number of killed workers, and whether the bytes are equal."""
    begun = time.perf_counter()
    assert unet([*command, "-o", str(near)]) == expected
    local = time.perf_counter() - begun
    with cluster(f"local:{workers}") as client, killing(client, 2, max(local / workers / 4, 0.5)) as killed:
        begun = time.perf_counter()
        assert unet([*command, "-o", str(far), "--dask", client.scheduler.address]) == expected
        seconds = time.perf_counter() - begun
    return {
        "local_seconds": local,
        "cluster_seconds": seconds,
        "killed": len(killed),
        "equal": stored(near) == stored(far),
        "files": len(stored(far)),
    }


@dataclass(frozen=True)
class Args:
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The JSON file to write."""
    side: int = 20000
    """Side of the huge image in pixels."""
    tile: int = 1020
    """Tile size of the huge image, in input pixels per axis."""
    images: int = 10000
    """Number of small images, at least 8."""
    workers: int = 3
    """Number of worker processes of the cluster."""


def main(args: Args) -> int:
    config = PRESETS["paper"].replace(widths=(4, 8, 16, 32, 64), dropout=0.0)
    with tempfile.TemporaryDirectory() as name, object_store() as bucket:
        folder = Path(name)
        Checkpoint(config, random_tensors(config.graph, 0, np.float32), DataSpec()).save(folder / "ck")
        put_image(bucket / "image.zarr", args.side)
        command = ["predict", str(folder / "ck"), str(bucket / "image.zarr"), "--tile", str(args.tile)]
        huge = compared(command, bucket / "near.zarr", bucket / "far.zarr", args.workers, 0)
        (folder / "in").mkdir()
        rng = np.random.default_rng(1)
        for number in range(args.images):
            np.save(folder / f"in/{number:05d}.npy", rng.integers(0, 255, (64, 64), np.uint8))
        (folder / "in/00007.npy").write_bytes(b"damaged")
        command = ["predict", str(folder / "ck"), str(folder / "in")]
        many = compared(command, folder / "near", folder / "far", args.workers, 2)
    write_record(
        args.out, record_of("cluster", settings=asdict(args) | {"out": str(args.out)}, one_image=huge, many_images=many)
    )
    print_table(
        "cluster",
        ("run", "local s", "cluster s", "killed", "equal"),
        [
            (
                name,
                f"{found['local_seconds']:.1f}",
                f"{found['cluster_seconds']:.1f}",
                str(found["killed"]),
                str(found["equal"]),
            )
            for name, found in (("one image", huge), ("many images", many))
        ],
    )
    return 0 if huge["equal"] and many["equal"] else 1


if __name__ == "__main__":
    start("cluster", Args, main, __doc__)
