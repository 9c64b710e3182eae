"""Images of the user's, cut to what the network takes; and the ranges of values that they cause inside of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unet_data.prepare import prepare
from unet_data.tiles import mirror_window
from unet_spec import DataSpec, InputError, NetworkConfig
from unet_spec.ops import Input
from unet_spec.tiling import tile_near

from .lowering import Lowered
from .precision import QUANTIZED, units
from .simulation import fake_quantized, fed

_WINDOW = {2: 380, 3: 100}  # input pixels per axis: some 200² outputs a window, and seconds in the float64 reference
_SAMPLES = 50_000  # values a tensor and window that a range is judged by


def windows(images: Sequence[np.ndarray], config: NetworkConfig, data: DataSpec, count: int = 8) -> list[np.ndarray]:
    """Network inputs (1, *size, C) float32 from the middle of up to `count` images (*spatial, C), evenly chosen;
    mirrored where an image is smaller. Raises InputError as `prepare`, and where there is no image."""
    if not images:
        raise InputError("no image to calibrate on; give at least one, of the kind that will be segmented")
    geometry = config.geometry
    most = tile_near(geometry, _WINDOW[config.spatial_dims])
    result = []
    for index in chosen(len(images), count):
        image = prepare(images[index][None], config, data)[0]
        need = (geometry.grid(a).above(n + 2 * geometry.margin(a)) for a, n in enumerate(image.shape[:-1]))
        size = tuple(min(a, b) for a, b in zip(most, need, strict=True))
        window = mirror_window(image, window_start(image.shape[:-1], size), size)
        result.append(np.ascontiguousarray(window[None]))
    return result


def chosen(available: int, count: int = 8) -> list[int]:
    """Up to `count` of so many images, from the first to the last."""
    return [int(i) for i in np.unique(np.linspace(0, available - 1, min(count, available)).round())]


def window_start(image: tuple[int, ...], size: tuple[int, ...]) -> tuple[int, ...]:
    """Where a window of `size` begins that has the middle of the image in its own; negative where it is larger."""
    return tuple((n - s) // 2 for n, s in zip(image, size, strict=True))


def activation_ranges(network: Lowered, inputs: Sequence[np.ndarray], precision: str) -> dict[str, float]:
    """For each unit, the range of its input that costs the least in `precision`.

    For fp8, whose steps grow with the value, the largest magnitude seen. For int8, of the largest magnitude and
    fractions of it, the one with the least mean square error on a sample: saturating a few outliers buys finer steps
    for all others (Nagel et al. 2021, arXiv 2106.08295, section 2.3.1). Raises InputError where an input causes NaN.
    """
    if precision not in QUANTIZED:
        raise InputError(f"{precision} has no ranges; only {', '.join(QUANTIZED)} are calibrated")
    wanted = units(network.graph)
    samples: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
    most: dict[str, float] = dict.fromkeys(wanted, 0.0)
    rng = np.random.default_rng(0)
    for image in inputs:
        for name, x in _unit_inputs(network, image):
            magnitudes = np.abs(x.ravel())
            top = float(magnitudes.max())
            if not np.isfinite(top):
                raise InputError(
                    f"what enters {name} is not finite on a calibration image; such a network has no range"
                )
            most[name] = max(most[name], top)
            samples[name].append(rng.choice(magnitudes, min(_SAMPLES, magnitudes.size), replace=False))
    if precision == "fp8":
        return {name: most[name] or 1.0 for name in wanted}
    return {name: _best_range(np.concatenate(samples[name]), most[name]) for name in wanted}


def _best_range(values: np.ndarray, most: float) -> float:
    if not most:
        return 1.0

    def error(candidate: float) -> float:
        return float(np.mean(np.square(fake_quantized(values, np.float32(candidate), "int8") - values)))

    return min((most * f for f in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)), key=error)


def _unit_inputs(network: Lowered, image: np.ndarray):
    """(unit, its input) in float32, in order, each freed when it is no longer needed."""
    graph, wanted = network.graph, set(units(network.graph))
    last_use = {i: node.name for node in graph for i in node.inputs}
    values: dict[str, np.ndarray] = {}
    for node in graph:
        if isinstance(node.op, Input):
            values[node.name] = fed(node, graph, image)
            continue
        inputs = [values[i] for i in node.inputs]
        if node.name in wanted:
            yield node.name, inputs[0]
        params = {key: network.tensors[f"{node.name}.{key}"] for key in node.op.parameters()}
        values[node.name] = node.op.compute(params, *inputs)
        for used in set(node.inputs):
            if last_use[used] == node.name:
                del values[used]
