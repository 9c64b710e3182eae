"""What a bundle's manifest says, from what was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from unet_spec import Checkpoint, Geometry
from unet_spec.latent import noise_input
from unet_spec.tiling import tile_near, tile_stride

from .baked import LABELS, PROBABILITIES
from .bundle_engines import Source
from .engine_record import EngineRecord
from .manifest import FORMAT, VERSION
from .onnx_emitter import OPSET
from .onnx_ops import INPUT, OUTPUT
from .tensorrt_profile import TILE, Profile
from .variants import Variant

# Okabe and Ito 2008: told apart by colour-blind readers, too. More classes begin again.
_COLORS = ((0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
           (204, 121, 167))  # fmt: skip


def default_tile(geometry: Geometry) -> tuple[int, ...] | None:
    """Pixels per axis that a tile has unless the user says otherwise; None where only the whole image is right."""
    return tile_near(geometry, TILE[geometry.graph.spatial_dims]) if geometry.shift_invariant else None


def describe(
    checkpoint: Checkpoint,
    variants: Sequence[Variant],
    engines: Sequence[EngineRecord],
    profile: tuple[str, Profile] | None,
    baked: dict[str, Any] | None,
    licence: str | None,
) -> dict[str, Any]:
    """The manifest, but for `files`."""
    config, geometry = checkpoint.config, checkpoint.config.geometry
    axes = range(config.spatial_dims)
    names = spatial_axes(config.spatial_dims)
    tile = default_tile(geometry)
    packages = ("unet-twins", "onnx", "onnxruntime")
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "config": config.to_dict(),
        "data": {key: list(values) for key, values in asdict(checkpoint.data).items()},
        "input": {"name": INPUT, "dtype": "float32", "axes": ["N", "C", *names], "channels": config.in_channels},
        "output": {"name": OUTPUT, "dtype": "float32", "axes": ["N", "C", *names], "channels": config.out_channels},
        **_noise(checkpoint),
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
        "colors": [list(_COLORS[i % len(_COLORS)]) for i in range(config.classes)],
        "precisions": [variant.to_dict() for variant in variants],
        "baked": baked,
        "engines": [as_json(record.to_dict()) for record in engines],
        "profile": None if profile is None else {"name": profile[0], **as_json(asdict(profile[1]))},
        "versions": {"onnx_opset": OPSET} | {name: _version(name) for name in packages},
        "licence": licence,
        "checkpoint_digest": checkpoint.digest(),
    }


def _noise(checkpoint: Checkpoint) -> dict[str, Any]:
    """The manifest's entry of the noise, in networks that have a latent variable."""
    node = noise_input(checkpoint.config.graph)
    if node is None:
        return {}
    noise = {"name": node.name, "dtype": "float32", "axes": ["S", "F"], "features": node.op.channels()}
    return {"noise": noise | {"default": "zero, which gives the hypothesis of the latent distribution's mean"}}


def describe_baked(
    checkpoint: Checkpoint, source: Source, steps: Sequence[str], engines: Sequence[EngineRecord]
) -> dict[str, Any]:
    """The manifest's entry of a model with baked-in steps, and of the engines built from it."""
    config = checkpoint.config
    names = spatial_axes(config.spatial_dims)
    image: dict[str, Any] = {"name": INPUT, "dtype": "float32", "axes": ["N", "C", *names]}
    result: dict[str, Any] = {"name": OUTPUT, "dtype": "float32", "axes": ["N", "C", *names]}
    if "normalize" in steps:
        image |= {"dtype": "uint8", "axes": ["N", *names, "C"]}
    if "softmax" in steps:
        result |= {"name": PROBABILITIES, "axes": ["N", *names, "C"]}
    if "argmax" in steps:
        result |= {"name": LABELS, "dtype": "uint8", "axes": ["N", *names]}
    image["channels"], result["channels"] = config.in_channels, 1 if "argmax" in steps else config.out_channels
    entry = {"file": source.file, "precision": source.precision, "steps": list(steps), "input": image}
    return entry | {"output": result, "engines": [as_json(record.to_dict()) for record in engines]}


def spatial_axes(dims: int) -> list[str]:
    return ["D", "H", "W"][-dims:]


def as_json(value: Any) -> Any:
    """Tuples as lists, all the way down: what a JSON reader gives back."""
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, list | tuple) else value


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None  # such as ONNX Runtime under another package's name
