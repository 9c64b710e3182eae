"""Writing a bundle: the folder that a deployment team receives. `unet_export.manifest` says what is in it."""

from __future__ import annotations

import io
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from unet_data.prepare import prepare
from unet_spec import Checkpoint, Geometry, InputError
from unet_spec.tiling import tile_near, tile_stride

from . import parity
from .manifest import (
    CARD,
    FORMAT,
    GOLDEN,
    MANIFEST,
    ONNX,
    PARITY,
    VERSION,
    Bundle,
    file_sha256,
    is_bundle,
    open_bundle,
)
from .model_card import model_card
from .onnx_emitter import OPSET, emit_onnx, save_onnx
from .onnx_ops import INPUT, OUTPUT
from .onnx_runtime import OnnxRuntime
from .tensorrt_backend import EngineRecord, available_backends, build_engine, engine_name
from .tensorrt_profile import Profile

_TILE = {2: 572, 3: 132}  # pixels per axis, rounded down to the grid; the paper's own, and what memory allows in 3-D


def write_bundle(
    checkpoint: Checkpoint,
    folder: str | os.PathLike[str],
    *,
    engines: bool | None = None,
    profile: Profile | None = None,
    golden_image: np.ndarray | None = None,
) -> Bundle:
    """Writes the bundle: wholly or not at all. An existing bundle is replaced.

    engines: True builds one for every TensorRT that is installed; None builds one with TensorRT for RTX if that is
    installed, and notes in parity.json why not, if not; False builds none.
    profile: the sizes that the engines are for; None takes `default_profile`.
    golden_image: (*spatial, C), uint8, uint16 or floating, of any size; None takes a synthetic one.

    Raises InputError where `folder` holds anything but a bundle, weights are not finite, the golden image does not
    suit the network, an engine was asked for and cannot be built, or ONNX Runtime is further than `parity.BOUND` from
    the reference.
    """
    path = Path(folder)
    _check_target(path)
    config, data = checkpoint.config, checkpoint.data
    profile = default_profile(config.geometry) if profile is None else profile
    profile.check(config)
    image = parity.default_golden_image(checkpoint) if golden_image is None else np.asarray(golden_image)
    network_input = parity.whole_input(config.geometry, prepare(image[None], config, data)[0])
    model = emit_onnx(config, checkpoint.tensors, data)

    with _replacing_folder(path) as new:
        save_onnx(model, new / ONNX)
        records, not_built = _build_engines(new, engines, profile)
        reference = parity.reference_logits(checkpoint, network_input)
        _write_golden(new / GOLDEN, image, network_input, reference)
        found = _parity(new, checkpoint, records, not_built, network_input, reference)
        _write_json(new / PARITY, found)
        manifest = _manifest(checkpoint, records)
        (new / CARD).write_text(model_card(manifest, found), encoding="utf-8")
        files = sorted(p for p in new.rglob("*") if p.is_file())
        manifest["files"] = {
            p.relative_to(new).as_posix(): {"sha256": file_sha256(p), "bytes": p.stat().st_size} for p in files
        }
        _write_json(new / MANIFEST, manifest)
        open_bundle(new)  # what we write, we can read
    return open_bundle(path)


def default_tile(geometry: Geometry) -> tuple[int, ...] | None:
    """Pixels per axis that a tile has unless the user says otherwise; None where only the whole image is right."""
    if not geometry.shift_invariant:
        return None
    return tile_near(geometry, _TILE[geometry.graph.spatial_dims])


def default_profile(geometry: Geometry) -> Profile:
    """From the smallest image to four tiles at once, best for one tile."""
    dims = geometry.graph.spatial_dims
    tile = tile_near(geometry, _TILE[dims])
    least = tuple(geometry.grid(axis).minimum for axis in range(dims))
    return Profile((1, *least), (1, *tile), (4, *tile))


def _build_engines(
    folder: Path, engines: bool | None, profile: Profile
) -> tuple[tuple[EngineRecord, ...], dict[str, str]]:
    """Engines and, by backend, why others were not built."""
    if engines is False:
        return (), {"tensorrt": "no engine was asked for"}
    backends = available_backends()
    if engines is None:
        backends = tuple(b for b in backends if b == "tensorrt_rtx")
    if not backends:
        if engines:
            raise InputError("no TensorRT is installed; pip install 'unet-twins[tensorrt-rtx]', or take engines=False")
        return (), {"tensorrt_rtx": "not installed"}
    (folder / "engines").mkdir()
    records, not_built = [], {}
    for backend in backends:
        temporary = folder / "engines" / f"{backend}.plan"  # its name says the version, which only the build knows
        try:
            record = build_engine(folder / ONNX, temporary, backend=backend, profile=profile)
        except InputError as e:
            if engines:
                raise
            not_built[backend] = str(e)
            continue
        name = engine_name(record.backend, record.version, record.compute_capabilities, record.precision)
        temporary.rename(temporary.with_name(name))
        records.append(EngineRecord(**{**vars(record), "file": name}))
    if not records:
        (folder / "engines").rmdir()
    return tuple(records), not_built


def _parity(
    folder: Path,
    checkpoint: Checkpoint,
    records: tuple[EngineRecord, ...],
    not_built: dict[str, str],
    network_input: np.ndarray,
    reference: np.ndarray,
) -> dict[str, Any]:
    runtime = OnnxRuntime(folder / ONNX)
    distance = parity.measure(runtime.run, network_input, reference)
    if distance.worst_relative > parity.BOUND:
        raise InputError(
            f"ONNX Runtime {runtime.version} is {distance.worst_relative:.1e} from the reference, relative to its"
            f" largest logit; allowed is {parity.BOUND:.0e}; no bundle was written"
        )
    results = [
        {"runtime": "onnxruntime", "version": runtime.version, "file": ONNX, "provider": runtime.provider}
        | distance.to_dict()
    ]
    not_run = [{"runtime": backend, "reason": reason} for backend, reason in not_built.items()]
    for record in records:
        from .tensorrt_runtime import load_engine

        entry = {"runtime": record.backend, "version": record.version, "file": f"engines/{record.file}"}
        try:
            engine = load_engine(folder / "engines" / record.file, record, checkpoint.config)
            results.append(entry | parity.measure(engine.run, network_input, reference).to_dict())
        except InputError as e:
            not_run.append(entry | {"reason": str(e)})
    return {
        "reference": "the network's graph in NumPy, float64",
        "golden": GOLDEN,
        "input_shape": list(network_input.shape),
        "bound": parity.BOUND,
        "results": results,
        "not_run": not_run,
    }


def _manifest(checkpoint: Checkpoint, records: tuple[EngineRecord, ...]) -> dict[str, Any]:
    config, geometry = checkpoint.config, checkpoint.config.geometry
    axes = range(config.spatial_dims)
    names = ["D", "H", "W"][-config.spatial_dims :]
    tile = default_tile(geometry)
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "config": config.to_dict(),
        "data": asdict(checkpoint.data),
        "input": {"name": INPUT, "dtype": "float32", "axes": ["N", "C", *names], "channels": config.in_channels},
        "output": {"name": OUTPUT, "dtype": "float32", "axes": ["N", "C", *names], "channels": config.out_channels},
        "sizes": [{"minimum": geometry.grid(a).minimum, "step": geometry.grid(a).step} for a in axes],
        "margin": [geometry.margin(a) for a in axes],
        "tiling": {
            "exact": geometry.shift_invariant,
            "tile": None if tile is None else list(tile),
            "stride": None if tile is None else [tile_stride(geometry, tile[a], a) for a in axes],
            "border": "mirrored, the edge pixel not repeated",
        },
        "classes": config.classes,
        "class_names": list(checkpoint.data.class_names),
        "engines": [record.to_dict() for record in records],
        "versions": {"onnx_opset": OPSET} | {name: _version(name) for name in ("unet-twins", "onnx", "onnxruntime")},
        "checkpoint_digest": checkpoint.digest(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None  # such as ONNX Runtime under another package's name


def _write_golden(path: Path, image: np.ndarray, network_input: np.ndarray, reference: np.ndarray) -> None:
    content = io.BytesIO()
    np.savez(content, image=image, input=network_input, logits=reference)
    path.write_bytes(content.getvalue())


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _check_target(path: Path) -> None:
    """Raises InputError where writing would destroy something that is no bundle, or no part of it."""
    if not path.exists():
        return
    if not path.is_dir():
        raise InputError(f"cannot write a bundle to {path}: it is a file")
    present = {p.relative_to(path).as_posix() for p in path.rglob("*") if not p.is_dir()}
    if not present:
        return
    if not is_bundle(path):
        raise InputError(f"cannot write a bundle to {path}: it is not empty, and no bundle that could be replaced")
    known = json.loads((path / MANIFEST).read_text(encoding="utf-8")).get("files")
    foreign = sorted(present - {MANIFEST, *(known if isinstance(known, dict) else {})})
    if foreign:
        raise InputError(f"cannot replace the bundle {path}: {foreign[0]} does not belong to it; move it away first")


@contextmanager
def _replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path`, renamed to it when the block ends well; the old one goes only then."""
    path = path.absolute()
    new, old = (path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}") for _ in range(2))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.mkdir()
        yield new
        if path.exists():
            path.rename(old)
        try:
            new.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    except OSError as e:
        raise InputError(f"cannot write bundle {path}: {e.strerror or e}") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
