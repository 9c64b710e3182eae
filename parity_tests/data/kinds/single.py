"""Images to segment, each with what must hold of the result. Each maker returns the image's path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from .labelled import Random, scene

GEO = [
    (33550, "d", 3, (0.6, 0.5, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 300057.6, 4100000.0, 0.0), True),
    (34735, "H", 8, (1, 1, 0, 1, 3072, 0, 1, 32610), True),
]
TURNED = np.array([[0, -0.5, 0, 12], [0.7, 0, 0, -8], [0, 0, 2.5, 30], [0, 0, 0, 1]])


def georeference(folder: Path, rng: Random) -> Path:
    tifffile.imwrite(folder / "in.tif", scene(rng)[0], extratags=GEO)
    return folder / "in.tif"


def same_georeference(source: Path, result: Path) -> bool:
    tags: list[Any] = []
    for path in (source, result):
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages[0]
            tags.append(page.geotiff_tags)
    return tags[0] == tags[1]


def hyperstack(folder: Path, rng: Random) -> Path:
    array = np.array([[scene(rng)[0] for _ in range(4)] for _ in range(3)])
    tifffile.imwrite(folder / "in.tif", array, imagej=True, metadata={"axes": "TZYX", "spacing": 3.0})
    return folder / "in.tif"


def same_axes(source: Path, result: Path) -> bool:
    with tifffile.TiffFile(source) as old, tifffile.TiffFile(result) as new:
        return (old.series[0].axes, old.series[0].shape) == (new.series[0].axes, new.series[0].shape)


def affine(folder: Path, rng: Random) -> Path:
    import nibabel

    volume = np.stack([scene(rng)[0] for _ in range(4)], -1)
    image = nibabel.Nifti1Image(volume, TURNED)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, folder / "in.nii.gz")
    return folder / "in.nii.gz"


def same_affine(source: Path, result: Path) -> bool:
    import nibabel

    images: list[Any] = [nibabel.load(path) for path in (source, result)]
    units = [image.header.get_xyzt_units() for image in images]
    return np.array_equal(images[0].affine, images[1].affine) and units[0] == units[1]


def ome_zarr(folder: Path, rng: Random) -> Path:
    import zarr

    steps = [{"type": "scale", "scale": [0.5, 0.25]}, {"type": "translation", "translation": [3.0, 4.0]}]
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    group: Any = zarr.create_group(folder / "in.zarr", attributes={"ome": {"version": "0.5", "multiscales": [image]}})
    picture = scene(rng)[0]
    group.create_array("0", shape=picture.shape, dtype=picture.dtype, chunks=(32, 32))[...] = picture
    return folder / "in.zarr"


def same_transformations(source: Path, result: Path) -> bool:
    import zarr

    groups: list[Any] = [zarr.open(path, mode="r") for path in (source, result)]
    old, new = (dict(group.attrs)["ome"]["multiscales"][0] for group in groups)
    return [old[key] for key in ("axes", "datasets")] == [new[key] for key in ("axes", "datasets")]
