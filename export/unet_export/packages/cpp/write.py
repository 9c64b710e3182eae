"""Writes a C++ program that needs no Python: sources, the model, and an example with the float64 reference's logits.

folder/
  unet.hpp            the network as a class: OpenVINO, ONNX Runtime or TensorRT behind it, exact overlap-tile
  images.hpp          PGM and TIFF
  segment.cpp         a program that uses both, and checks itself
  CMakeLists.txt
  network.txt         sizes, tiles, normalisation, classes: a name and its values on each line
  model.onnx          float32
  golden_image.f32, golden_logits.f32   float32, channels last
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unet_data import prepare
from unet_data.normalize import full_scale
from unet_spec import Checkpoint, InputError
from unet_spec.files import replacing_folder

from ...bundle.describe import default_tile
from ...onnx.emitter import emit_onnx, onnx_bytes
from ...reference import FLOAT32_BOUND, default_golden_image, reference_logits, whole_input

if TYPE_CHECKING:
    from jaxtyping import Shaped

FACTS, MODEL = "network.txt", "model.onnx"
_SOURCE = ("unet.hpp", "images.hpp", "segment.cpp", "CMakeLists.txt")


def write_cpp(
    checkpoint: Checkpoint,
    folder: str | os.PathLike[str],
    *,
    calibration: Sequence[np.ndarray] | None = None,
    golden_image: Shaped[np.ndarray, "*spatial c"] | None = None,
) -> dict[str, str]:
    """Writes the folder, atomically. An existing folder of this function is replaced.

    Args:
        checkpoint: The network.
        folder: A new or empty folder, or a folder of this function.
        calibration: Images (*spatial, C); the example is the middle of the last one if `golden_image` is None.
        golden_image: The example (*spatial, C). None without `calibration`: a synthetic image.

    Returns:
        The content of network.txt: values by name.

    Raises:
        InputError: The folder contains anything else, the classes overlap, the normalisation uses more than mean and
            std, or the example does not fit the network.

    Example:
        >>> from unet_export import write_cpp
        >>> from unet_spec import Checkpoint, preset, random_tensors
        >>> config = preset("paper", widths=(4, 8))
        >>> write_cpp(Checkpoint(config, random_tensors(config.graph, 0)), "cpp")["axis0"]
        '18 2 8 0 0 572'
    """
    path = Path(folder)
    checkpoint.data.check_affine("the C++ class")
    checkpoint.config.check_classes_alone("the C++ class")
    if path.is_file():
        raise InputError(f"cannot write C++ sources to {path}: it is a file")
    if path.is_dir() and any(path.iterdir()) and not (path / FACTS).is_file():
        raise InputError(
            f"cannot write C++ sources to {path}: it is neither empty nor a folder of such sources, so it "
            "is not replaced"
        )
    config, data = checkpoint.config, checkpoint.data
    if data.overlapping or config.classes > 256:
        raise InputError("the C++ class supports one class per pixel and at most 256 classes; this network differs")
    model = onnx_bytes(emit_onnx(config, checkpoint.tensors, data))
    image = default_golden_image(checkpoint, calibration) if golden_image is None else np.asarray(golden_image)
    prepared = prepare(image[None], config, data)
    size = image.shape[:-1]
    logits = reference_logits(checkpoint, whole_input(config.geometry, prepared[0]))[(0, *map(slice, size))]
    facts = _facts(checkpoint) | {
        "golden_size": _row((1, *size)[-3:]),
        "golden_full_scale": _row([full_scale(image.dtype)]),
        "bound": _row([FLOAT32_BOUND]),
    }
    with replacing_folder(path) as new:
        source = resources.files("unet_export.packages.cpp").joinpath("source")
        for name in _SOURCE:
            (new / name).write_bytes(source.joinpath(name).read_bytes())
        (new / MODEL).write_bytes(model)
        (new / FACTS).write_text("".join(f"{k} {v}\n" for k, v in facts.items()), encoding="utf-8")
        (new / "golden_image.f32").write_bytes(np.ascontiguousarray(image, "<f4").tobytes())
        (new / "golden_logits.f32").write_bytes(np.ascontiguousarray(logits, "<f4").tobytes())
    return facts


def _facts(checkpoint: Checkpoint) -> dict[str, str]:
    config, data, geometry = checkpoint.config, checkpoint.data, checkpoint.config.geometry
    tile = default_tile(geometry) or (0,) * config.spatial_dims
    names = data.class_names or [f"class {i}" for i in range(config.classes)]
    facts = {
        "format": "unet-cpp 1",
        "model": MODEL,
        "spatial_dims": str(config.spatial_dims),
        "in_channels": str(config.in_channels),
        "out_channels": str(config.out_channels),
        "class_names": "\t".join(" ".join(name.split()) for name in names),
        "mean": _row(data.mean or (0.0,) * config.in_channels),
        "std": _row(data.std or (1.0,) * config.in_channels),
        "checkpoint_digest": checkpoint.digest(),
    }
    for a, pixels in enumerate(tile):
        grid, halo = geometry.grid(a), geometry.halo(a) if geometry.shift_invariant else (0, 0)
        facts[f"axis{a}"] = _row((grid.minimum, grid.step, geometry.margin(a), *halo, pixels))
    return facts


def _row(values: Sequence[float]) -> str:
    return " ".join(repr(value) for value in values)
