"""What is fuzzed: from the bytes of an input to a reader, and inputs to begin with."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

SEPARATOR = b"\n--chunk--\n"
"""Between the metadata of a zarr array and its only chunk."""
_GREY = np.arange(20 * 24, dtype=np.uint8).reshape(20, 24)


def images(data: bytes, folder: Path) -> None:
    """PNG, JPEG, TIFF or npy, whole and by windows."""
    from unet_data import open_pictures, read_stack

    path = folder / ("a.npy" if data.startswith(b"\x93NUMPY") else "a.tif")
    path.write_bytes(data)
    for dims in (2, 3):
        pictures = open_pictures(path, dims, whole_below=0)
        _window(pictures)
    if path.suffix != ".npy":
        read_stack(path)


def zarr(data: bytes, folder: Path) -> None:
    """An array of one chunk: its metadata, then the chunk."""
    from unet_data import open_pictures

    metadata, _, chunk = data.partition(SEPARATOR)
    place = folder / "a.zarr"
    shutil.rmtree(place, ignore_errors=True)
    (place / "c/0").mkdir(parents=True)
    (place / ("zarr.json" if b"node_type" in metadata else ".zarray")).write_bytes(metadata)
    (place / "c/0/0").write_bytes(chunk)
    (place / "0.0").write_bytes(chunk)
    _window(open_pictures(place, 2))


def _window(pictures: list) -> None:
    size = pictures[0].shape[:-1]
    assert np.isfinite(pictures[-1][tuple(slice(0, min(n, 64)) for n in size)]).all()


def nifti(data: bytes, folder: Path) -> None:
    from unet_data.nnunet.nifti import read_nifti, write_nifti

    path = folder / ("a.nii.gz" if data.startswith(b"\x1f\x8b") else "a.nii")
    path.write_bytes(data)
    for reorient in (False, True):
        image = read_nifti([path], reorient)
        write_nifti(folder / "out.nii.gz", np.zeros(image.values.shape[1:], np.uint8), image)


def json_(data: bytes, folder: Path) -> None:
    """Every kind of record; the first byte chooses."""
    from unet_data.nnunet import NnunetPlans
    from unet_export.bundle.manifest import read_manifest
    from unet_spec import NetworkConfig
    from unet_spec.untrusted.strict_json import parse_json, read_lines
    from unet_spec.weights.checkpoint import read_config

    kind, text = data[:1], data[1:]
    if kind == b"m":
        (folder / "manifest.json").write_bytes(text)
        read_manifest(folder)
    elif kind == b"n":
        NnunetPlans.from_json(text.decode("utf-8", "replace"), "nnunet.json")
    elif kind == b"l":
        (folder / "log.jsonl").write_bytes(text)
        list(read_lines(folder / "log.jsonl"))
    elif kind == b"c":
        (folder / "config.json").write_bytes(text)
        (folder / "model.safetensors").touch()
        read_config(folder)
    else:
        NetworkConfig.from_dict(parse_json(text, "config"), "config")


def safetensors(data: bytes, folder: Path) -> None:
    from unet_spec import preset
    from unet_tools.conversion.formats import read

    (folder / "a.safetensors").write_bytes(data)
    read(folder / "a.safetensors", None, preset("same"))


def onnx(data: bytes, folder: Path) -> None:
    from unet_export.onnx.check import read_onnx, recipe_of, weights_of

    _, model, where = read_onnx(data)
    recipe_of(model, where)
    weights_of(model, where)


def pth(data: bytes, folder: Path) -> None:
    from unet_tools.conversion.tensor_files import read_files

    (folder / "a.pth").write_bytes(data)
    read_files(folder / "a.pth")


READERS: dict[str, Callable[[bytes, Path], None]] = {
    "images": images,
    "zarr": zarr,
    "nifti": nifti,
    "json": json_,
    "safetensors": safetensors,
    "onnx": onnx,
    "pth": pth,
}


def seeds(name: str, folder: Path) -> Iterator[bytes]:
    """Whole inputs of a reader."""
    yield from _SEEDS[name](folder)


def _image_seeds(folder: Path) -> Iterator[bytes]:
    import tifffile
    from PIL import Image

    for mode, kind in (
        ("L", "PNG"),
        ("RGB", "PNG"),
        ("P", "PNG"),
        ("1", "PNG"),
        ("I;16", "PNG"),
        ("LA", "PNG"),
        ("L", "JPEG"),
    ):
        stream = io.BytesIO()
        picture = Image.fromarray(_GREY.astype(np.uint16)) if mode == "I;16" else Image.fromarray(_GREY).convert(mode)
        picture.save(stream, kind)
        yield stream.getvalue()
    for options in (
        {},
        {"compression": "zlib"},
        {"tile": (16, 16)},
        {"bigtiff": True},
        {"imagej": True},
        {"byteorder": ">"},
    ):
        stream = io.BytesIO()
        tifffile.imwrite(stream, np.stack([_GREY] * 2), photometric="minisblack", **options)
        yield stream.getvalue()
    stream = io.BytesIO()
    np.save(stream, _GREY)
    yield stream.getvalue()


def _zarr_seeds(folder: Path) -> Iterator[bytes]:
    import zarr as package

    for number, options in enumerate(
        ({}, {"zarr_format": 2}, {"compressors": None}, {"compressors": package.codecs.GzipCodec()})
    ):
        place = folder / f"{number}.zarr"
        package.create_array(place, shape=_GREY.shape, chunks=_GREY.shape, dtype="u1", **options)[...] = _GREY
        files = {p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()}
        metadata = next(files[n] for n in ("zarr.json", ".zarray") if n in files)
        yield metadata + SEPARATOR + next(files[n] for n in ("c/0/0", "0.0") if n in files)


def _nifti_seeds(folder: Path) -> Iterator[bytes]:
    import nibabel

    for dtype, shape in ((np.int16, (4, 5, 6)), (np.float32, (4, 5)), (np.uint8, (4, 5, 2, 2))):
        image = nibabel.Nifti1Image(np.zeros(shape, dtype), np.diag([0.5, 0.5, 2, 1]))
        yield image.to_bytes()
        nibabel.save(image, folder / "seed.nii.gz")
        yield (folder / "seed.nii.gz").read_bytes()


def _config() -> object:
    from unet_spec import preset

    return preset("same", widths=(2, 3))


def _checkpoint() -> object:
    from unet_spec import Checkpoint, DataSpec, random_tensors

    config = _config()
    return Checkpoint(config, random_tensors(config.graph, 0), DataSpec((0.5,), (0.2,), ("a", "b")))


def _json_seeds(folder: Path) -> Iterator[bytes]:
    from unet_export import BundleSettings, write_bundle

    from ...fixtures.nnunet_cases import Stored

    write_bundle(_checkpoint(), folder / "bundle", BundleSettings(engines=False))
    _checkpoint().save(folder / "net")
    yield b"m" + (folder / "bundle/manifest.json").read_bytes()
    yield b"n" + Stored("2d").plans.to_json().encode()
    yield b"l" + b'{"step": 1, "loss": 0.5}\n' * 2
    yield b"c" + (folder / "net/config.json").read_bytes()
    yield b"d" + json.dumps(_config().to_dict()).encode()


def _safetensors_seeds(folder: Path) -> Iterator[bytes]:
    from unet_tools.cli import main

    _checkpoint().save(folder / "net")
    yield (folder / "net/model.safetensors").read_bytes()
    assert main(["convert", str(folder / "net"), str(folder / "w.safetensors")]) == 0
    yield (folder / "w.safetensors").read_bytes()


def _onnx_seeds(folder: Path) -> Iterator[bytes]:
    from unet_export import emit_onnx, onnx_bytes

    checkpoint = _checkpoint()
    yield onnx_bytes(emit_onnx(checkpoint.config, checkpoint.tensors, checkpoint.data))


def _pth_seeds(folder: Path) -> Iterator[bytes]:
    import torch

    state = {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2)}
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        for value in (state, {"state_dict": state, "epoch": 3}):
            stream = io.BytesIO()
            torch.save(value, stream, **options)
            yield stream.getvalue()


_SEEDS: dict[str, Callable[[Path], Iterator[bytes]]] = {
    "images": _image_seeds,
    "zarr": _zarr_seeds,
    "nifti": _nifti_seeds,
    "json": _json_seeds,
    "safetensors": _safetensors_seeds,
    "onnx": _onnx_seeds,
    "pth": _pth_seeds,
}
