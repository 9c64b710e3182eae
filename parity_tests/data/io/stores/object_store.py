"""A program: segments an OME-Zarr of an object store into it, and lets other people's packages judge the results.

Needs s3fs, moto[server], ome-zarr and ome-zarr-models. Prints the facts that the test asserts, as JSON.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import tifffile
import zarr
from moto.server import ThreadedMotoServer
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from ome_zarr_models import v04, v05

from parity_tests.data.io.formats.bright import predicted
from parity_tests.data.io.formats.test_encode_zarr import ome_zarr
from parity_tests.data.io.helpers import noise
from unet_data import Sampler, open_stored
from unet_data.io.stores import remote


def judged(path: Path, label: str) -> dict[str, object]:
    """What ome-zarr-models and ome-zarr say of a local image with a label image inside."""
    image, own = zarr.open_group(path, mode="r"), zarr.open_group(path / "labels" / label, mode="r")
    version = v04 if image.metadata.zarr_format == 2 else v05
    version.Image.from_zarr(image)  # raises where it is not valid
    checked = version.ImageLabel.from_zarr(own)
    nodes = list(Reader(parse_url(str(path)))())
    shapes = [[list(level.shape) for level in node.data] for node in nodes if node.data]
    return {"valid": type(checked).__module__, "shapes": shapes}


def main(folder: Path) -> None:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    facts: dict[str, object] = {}
    bucket = Path("s3://bucket")
    remote.filesystem(bucket / "x")[0].mkdir("bucket")
    array = noise(1100, 600)
    for version in (2, 3):
        near = folder / f"a{version}.zarr"
        ome_zarr(near, "yx", [array, array[::2, ::2]], version)
        for file in near.rglob("*"):
            if file.is_file():
                remote.write(bucket / file.relative_to(folder), file.read_bytes())
        far = bucket / near.name
        predicted(far, bucket / f"o{version}.zarr", tile=300)
        predicted(far, far / "labels/cells")
        predicted(near, near / "labels/cells")
        predicted(near, folder / f"o{version}.zarr")
        v05.Image.from_zarr(zarr.open_group(folder / f"o{version}.zarr", mode="r"))
        same = []
        for result in (f"o{version}.zarr", f"a{version}.zarr/labels/cells"):
            fs, root = remote.filesystem(bucket / result)
            stored = {name.removeprefix(f"{root}/"): fs.cat_file(name) for name in fs.find(root)}
            inside = (folder / result).rglob("*")
            same.append(
                stored == {p.relative_to(folder / result).as_posix(): p.read_bytes() for p in inside if p.is_file()}
            )
        left = [name for name in remote.names(bucket) if name.endswith(".part")]
        facts[str(version)] = {"same": same, "left": left} | judged(near, "cells")
    pairs = [Sampler(open_stored(place / "a2.zarr"), (60, 60), (60, 60), 2, 0).batch(0) for place in (bucket, folder)]
    facts["batches"] = all(bool((far == near).all()) for far, near in zip(*pairs, strict=True))
    tifffile.imwrite(folder / "tiled.tif", array, tile=(128, 128), compression="zlib")
    remote.write(bucket / "tiled.tif", (folder / "tiled.tif").read_bytes())
    predicted(bucket / "tiled.tif", folder / "far.tif", tile=300)
    predicted(folder / "tiled.tif", folder / "near.tif", tile=300)
    facts["tiff"] = (folder / "far.tif").read_bytes() == (folder / "near.tif").read_bytes()
    plain = np.asarray(zarr.open_group(folder / "o3.zarr", mode="r")["0"])
    facts["right"] = bool((plain == (array > 127)).all())
    server.stop()
    print(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
