"""What the tests of narrow precisions share: networks, images, recipes, and distances."""

import numpy as np
import pytest

from unet_export import Recipe, available_backends
from unet_spec import PRESETS, DataSpec, UNetConfig

RTX = pytest.mark.skipif(
    "tensorrt_rtx" not in available_backends(),
    reason="tensorrt_rtx is not installed; pip install 'unet-twins[tensorrt-rtx]'",
)
CASES: dict[str, UNetConfig] = {
    **{name: config.replace(widths=(4, 8, 16)) for name, config in PRESETS.items()},
    "3-D paper": PRESETS["paper"].replace(widths=(2, 4), spatial_dims=3),
    "3-D same": PRESETS["same"].replace(widths=(2, 4), spatial_dims=3),
    "group norm": PRESETS["same"].replace(widths=(4, 8), norm="group", norm_groups=2),
}
NARROW = ("fp16", "bf16", "int8", "fp8")


def images_for(config: UNetConfig, batch: int = 1) -> np.ndarray:
    size = [grid.minimum + grid.step * (1 + axis) for axis, grid in enumerate(config.geometry.grids)]
    return np.random.default_rng(5).normal(1, 1, (batch, *size, config.in_channels)).astype(np.float32)


def reference(config: UNetConfig, tensors: dict, images: np.ndarray) -> np.ndarray:
    return config.graph.forward({k: t.astype(np.float64) for k, t in tensors.items()}, images.astype(np.float64))


def recipe_for(precision: str, config: UNetConfig, tensors: dict, images: np.ndarray, kept=()) -> Recipe:
    from unet_export.calibrate import activation_ranges
    from unet_export.precision import QUANTIZED, lower_for

    network = lower_for(precision, config.graph, tensors)
    ranges = activation_ranges(network, [images], precision) if precision in QUANTIZED else {}
    return Recipe(precision, tuple(kept), ranges)


def relative(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / np.abs(b).max())


CONFIG = PRESETS["same"].replace(widths=(4, 8), in_channels=3, out_channels=3)
DATA = DataSpec((0.5, 0.4, 0.3), (0.2, 0.1, 0.3), ("a", "b", "c"))


def calibration_images(count: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40, 52, 3)).astype(np.uint8) for _ in range(count)]
