"""Calibration: crops the user's images to network inputs, and measures the activation ranges that they cause."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unet_data.inference.prepare import prepare
from unet_data.windows import mirror_window
from unet_spec import DataSpec, InputError, NetworkConfig
from unet_spec.graph import Node, evaluate
from unet_spec.tiling.tiles import tile_below

from ..onnx.lowering import Lowered
from .formats import QUANTIZED, convolutions
from .simulation import fake_quantized

_WINDOW = {2: 380, 3: 100}  # input pixels per axis: about 200² outputs per window, and seconds in the float64 reference
_SAMPLES = 50_000  # values per tensor and window for the choice of a range


def windows(images: Sequence[np.ndarray], config: NetworkConfig, data: DataSpec, count: int = 8) -> list[np.ndarray]:
    """Network inputs (1, *size, C) float32 from the middle of up to `count` evenly chosen images (*spatial, C); smaller
    images are mirrored. Raises InputError like `prepare`, and if there are no images."""
    if not images:
        raise InputError("no calibration image; give at least one representative image")
    geometry = config.geometry
    largest = tile_below(geometry, _WINDOW[config.spatial_dims])
    result = []
    for index in chosen(len(images), count):
        image = prepare(images[index][None], config, data)[0]
        need = (geometry.grid(a).above(n + 2 * geometry.margin(a)) for a, n in enumerate(image.shape[:-1]))
        size = tuple(min(a, b) for a, b in zip(largest, need, strict=True))
        window = mirror_window(image, window_start(image.shape[:-1], size), size)
        result.append(np.ascontiguousarray(window[None]))
    return result


def chosen(available: int, count: int = 8) -> list[int]:
    """Indices of up to `count` of `available` images, evenly spaced from the first to the last."""
    return [int(i) for i in np.unique(np.linspace(0, available - 1, min(count, available)).round())]


def window_start(image: tuple[int, ...], size: tuple[int, ...]) -> tuple[int, ...]:
    """Start of the window of `size` around the middle of the image; negative if the window is larger."""
    return tuple((n - s) // 2 for n, s in zip(image, size, strict=True))


def activation_ranges(network: Lowered, inputs: Sequence[np.ndarray], precision: str) -> dict[str, float]:
    """For each convolution, the range of its input with the smallest error in `precision`.

    For fp8, whose steps grow with the value, it is the largest magnitude. For int8, it is the fraction of the largest
    magnitude with the smallest mean square error on a sample: saturating a few outliers allows finer steps for all
    other values (Nagel et al. 2021, arXiv 2106.08295, section 2.3.1). Raises InputError if an input causes NaN.
    """
    if precision not in QUANTIZED:
        raise InputError(f"{precision} needs no calibration; only {', '.join(QUANTIZED)} do")
    names = convolutions(network.graph)
    samples: dict[str, list[np.ndarray]] = {name: [] for name in names}
    largest: dict[str, float] = dict.fromkeys(names, 0.0)
    rng = np.random.default_rng(0)

    def compute(node: Node, arrays: list[np.ndarray]) -> np.ndarray:
        if (name := node.name) in samples:
            magnitudes = np.abs(arrays[0].ravel())
            top = float(magnitudes.max())
            if not np.isfinite(top):
                raise InputError(f"the input of {name} is not finite on a calibration image, so it has no range")
            largest[name] = max(largest[name], top)
            samples[name].append(rng.choice(magnitudes, min(_SAMPLES, magnitudes.size), replace=False))
        return node.op.compute(node.select(network.tensors), *arrays)

    for image in inputs:
        evaluate(network.graph.nodes, network.graph.default_inputs(image.astype(np.float32)), compute, ())
    if precision == "fp8":
        return {name: largest[name] or 1.0 for name in names}
    return {name: _best_range(np.concatenate(samples[name]), largest[name]) for name in names}


def _best_range(values: np.ndarray, largest: float) -> float:
    if not largest:
        return 1.0

    def error(candidate: float) -> float:
        return float(np.mean(np.square(fake_quantized(values, np.float32(candidate), "int8") - values)))

    return min((largest * f for f in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)), key=error)
