"""Whole inputs of every kind, as small as the commands take them; the cases change copies of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

WIDTHS = (2, 3)
SHAPE = (48, 40)


def make(folder: Path) -> int:
    """Fills a folder. To be called in a child: it starts threads."""
    import tifffile
    from PIL import Image

    from unet_data import membranes
    from unet_spec import Checkpoint, DataSpec, preset, random_tensors
    from unet_tools.cli import main

    folder.mkdir(parents=True)
    config = preset("same", widths=WIDTHS)
    data = DataSpec((0.5,), (0.2,), ("background", "cell"))
    Checkpoint(config, random_tensors(config.graph, 0), data).save(folder / "net")
    colour = config.replace(in_channels=3)
    Checkpoint(colour, random_tensors(colour.graph, 0), DataSpec((0.5,) * 3, (0.2,) * 3, data.class_names)).save(
        folder / "colour"
    )
    _run(main, "export", folder / "net", "-o", folder / "bundle", "--engines", "False")
    _run(main, "convert", folder / "net", folder / "w.pth")
    _run(main, "convert", folder / "net", folder / "w.safetensors")

    cells = membranes(4, 48, seed=0)
    pixels = [np.asarray(image)[:, :40, 0] for image in cells.images]
    masks = [(np.asarray(label)[:, :40] * 255).astype(np.uint8) for label in cells.labels or ()]
    grey = pixels[0] if pixels[0].dtype == np.uint8 else (pixels[0] * 255).astype(np.uint8)
    Image.fromarray(grey).save(folder / "i.png")
    palette = Image.fromarray(masks[0] // 255)
    palette.putpalette([0, 0, 0, 255, 0, 0] + [0] * 762)
    palette.save(folder / "palette.png")
    Image.fromarray(grey).save(folder / "i.jpg")
    Image.fromarray(np.stack([grey] * 3, -1)).save(folder / "rgb.jpg", exif=Image.Exif())
    np.save(folder / "i.npy", grey)
    tifs = {
        "plain": {}, "deflate": {"compression": "zlib"}, "tiled": {"tile": (16, 16), "compression": "zlib"},
        "big": {"bigtiff": True, "compression": "zlib"}, "white": {"photometric": "miniswhite"},
        "imagej": {"imagej": True}, "motorola": {"byteorder": ">"},
        "predicted": {"compression": "zlib", "predictor": True},
    }  # fmt: skip
    for name, options in tifs.items():
        tifffile.imwrite(folder / f"{name}.tif", grey, **({"photometric": "minisblack"} | options))
    tifffile.imwrite(folder / "pages.tif", np.stack([grey] * 3), photometric="minisblack", compression="zlib")
    tifffile.imwrite(folder / "ome.ome.tif", np.stack([grey] * 2), photometric="minisblack", metadata={"axes": "ZYX"})
    _zarrs(folder, grey)

    for name, ending in (("data", ".png"), ("tifs", ".tif"), ("arrays", ".npy")):
        for part, images in (("images", pixels), ("labels", masks)):
            (folder / name / part).mkdir(parents=True)
            for i, image in enumerate(images[:2]):
                array = np.ascontiguousarray(image)
                path = folder / name / part / f"{i}{ending}"
                if ending == ".npy":
                    np.save(path, array)
                elif ending == ".tif":
                    tifffile.imwrite(path, array, photometric="minisblack")
                else:
                    Image.fromarray(array if array.dtype == np.uint8 else (array * 255).astype(np.uint8)).save(path)
    _nnunet(folder)
    small = (
        "--steps",
        "2",
        "--validate-every",
        "1",
        "--log-every",
        "1",
        "--tile",
        "32",
        "--no-report",
        "--no-large-pages",
    )
    _run(main, "train", folder / "data", "--out", folder / "run", "--preset", "same", "--widths", *WIDTHS, *small)
    return 0


def _run(main, *arguments: object) -> None:
    assert main(list(map(str, arguments))) == 0, arguments


def _zarrs(folder: Path, grey: np.ndarray) -> None:
    import zarr

    for name, options in (
        ("v2", {"zarr_format": 2}), ("v2-raw", {"zarr_format": 2, "compressors": None}), ("v3", {}),
        ("v3-raw", {"compressors": None}), ("v3-gzip", {"compressors": zarr.codecs.GzipCodec()}),
        ("v3-blosc", {"compressors": zarr.codecs.BloscCodec()}),
        ("v3-shards", {"shards": (32, 32), "chunks": (16, 16)}),
    ):  # fmt: skip
        array = zarr.create_array(
            folder / f"{name}.zarr", shape=grey.shape, dtype=grey.dtype, **({"chunks": (32, 32)} | options)
        )
        array[...] = grey
    group = zarr.create_group(folder / "ome.zarr")
    array = group.create_array("0", shape=(1, *grey.shape), chunks=(1, 32, 32), dtype=grey.dtype)
    array[...] = grey[None]
    axes = [{"name": "c", "type": "channel"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}


def _nnunet(folder: Path) -> None:
    import gzip

    from ..fixtures.nnunet_cases import Stored
    from ..fixtures.sources.nnunet_plans import plans
    from ..tools.conversion.test_nnunet_models import model_folder

    stored = Stored("2d")
    stored.save(folder / "nnunet")
    stored.write_images(folder / "cases")
    (folder / "plain").mkdir()
    for path in (folder / "cases").iterdir():
        (folder / "plain" / path.name.removesuffix(".gz")).write_bytes(gzip.decompress(path.read_bytes()))
    trained = folder / "Trainer__nnUNetPlans__2d"
    model_folder(trained, json.loads(json.dumps(plans())), folds=1)
