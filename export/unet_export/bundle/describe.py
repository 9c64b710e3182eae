"""The manifest of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from unet_data.io.colours import colour
from unet_spec import Checkpoint, Geometry
from unet_spec.ops import noise_input
from unet_spec.tiling.tiles import balanced_tile, tile_stride

from ..onnx.emitter import OPSET
from ..onnx.fused import LABELS, PROBABILITIES
from ..onnx.ops import INPUT, OUTPUT
from ..precision.variants import Variant
from ..tensorrt.engine_record import EngineRecord
from ..tensorrt.profile import TILE, Profile
from .engines import Source
from .manifest import FORMAT, VERSION


def default_tile(geometry: Geometry) -> tuple[int, ...] | None:
    """The default tile of a bundle.

    Args:
        geometry: Geometry of the network.

    Returns:
        Pixels per axis of the network's input; None if only the whole image gives an exact result.

    Example:
        >>> from unet_export import default_tile
        >>> from unet_spec import preset
        >>> default_tile(preset("paper").geometry)
        (572, 572)
    """
    return balanced_tile(geometry, TILE[geometry.graph.spatial_dims]) if geometry.shift_invariant else None


def describe(
    checkpoint: Checkpoint,
    variants: Sequence[Variant],
    engines: Sequence[EngineRecord],
    profile: tuple[str, Profile] | None,
    fused: dict[str, Any] | None,
    licence: str | None,
) -> dict[str, Any]:
    """The manifest, except `files`.

    Args:
        checkpoint: The network.
        variants: Models, one per precision.
        engines: Engines of the network without fused steps.
        profile: Name and sizes of the engines' profile; None without engines.
        fused: Entry of the model with fused steps (`describe_fused`); None without one.
        licence: Licence of the weights.
    """
    config, geometry = checkpoint.config, checkpoint.config.geometry
    axes = range(config.spatial_dims)
    names = spatial_axes(config.spatial_dims)
    tile = default_tile(geometry)
    packages = ("unet-twins", "onnx", "onnxruntime")
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "config": config.to_dict(),
        "data": checkpoint.data.to_dict(),
        "input": {"name": INPUT, "dtype": "float32", "axes": ["N", "C", *names], "channels": config.in_channels},
        "output": {"name": OUTPUT, "dtype": "float32", "axes": ["N", "C", *names], "channels": config.output_channels},
        **_noise(checkpoint),
        "sizes": [{"minimum": geometry.grid(a).minimum, "step": geometry.grid(a).step} for a in axes],
        "margin": [geometry.margin(a) for a in axes],
        "tiling": {
            "exact": geometry.shift_invariant,
            "tile": None if tile is None else list(tile),
            "stride": None if tile is None else [tile_stride(geometry, tile[a], a) for a in axes],
            "border": "mirrored, the edge pixel not repeated",
        },
        "classes": checkpoint.data.class_count(config),
        "class_names": list(checkpoint.data.class_names),
        "colors": [list(colour(i)) for i in range(checkpoint.data.class_count(config))],
        "precisions": [variant.to_dict() for variant in variants],
        "baked": fused,
        "engines": [as_json(record.to_dict()) for record in engines],
        "profile": None if profile is None else {"name": profile[0], **as_json(asdict(profile[1]))},
        "versions": {"onnx_opset": OPSET} | {name: _version(name) for name in packages},
        "licence": licence,
        "checkpoint_digest": checkpoint.digest(),
    }


def _noise(checkpoint: Checkpoint) -> dict[str, Any]:
    """The manifest's entry for the noise input of a network with a latent variable."""
    node = noise_input(checkpoint.config.graph)
    if node is None:
        return {}
    noise = {"name": node.name, "dtype": "float32", "axes": ["S", "F"], "features": node.op.channels()}
    return {"noise": noise | {"default": "zero, which gives the segmentation at the mean of the latent distribution"}}


def describe_fused(
    checkpoint: Checkpoint, source: Source, steps: Sequence[str], engines: Sequence[EngineRecord]
) -> dict[str, Any]:
    """The manifest's entry for a model with fused steps, and for its engines."""
    config, data = checkpoint.config, checkpoint.data
    names = spatial_axes(config.spatial_dims)
    image: dict[str, Any] = {"name": INPUT, "dtype": "float32", "axes": ["N", "C", *names]}
    result: dict[str, Any] = {"name": OUTPUT, "dtype": "float32", "axes": ["N", "C", *names]}
    if "normalize" in steps:
        image |= {"dtype": "uint8", "axes": ["N", *names, "C"]}
    if "softmax" in steps:
        result |= {"name": PROBABILITIES, "axes": ["N", *names, "C"]}
    if "argmax" in steps:
        result |= {"name": LABELS, "dtype": "uint8", "axes": ["N", *names, *(["C"] if data.overlapping else [])]}
    one = "argmax" in steps and not data.overlapping
    image["channels"], result["channels"] = (
        config.in_channels,
        1 if one else data.class_count(config) if "softmax" in steps else config.output_channels,
    )
    entry = {"file": source.file, "precision": source.precision, "steps": list(steps), "input": image}
    return entry | {"output": result, "engines": [as_json(record.to_dict()) for record in engines]}


def spatial_axes(dims: int) -> list[str]:
    return ["D", "H", "W"][-dims:]


def as_json(value: Any) -> Any:
    """Replaces tuples by lists, at all depths, as a JSON reader returns them."""
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, list | tuple) else value


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None  # for example, ONNX Runtime installed as another package
