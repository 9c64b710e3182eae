"""A bundle as a function from images to logits, in the best runtime that this machine has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np

from unet_data.prepare import prepare
from unet_data.stitch import Run, predict_tiled
from unet_spec import InputError, NetworkConfig
from unet_spec.tiling import plan_tiles

from .manifest import MANIFEST, Bundle, open_bundle
from .onnx_runtime import OnnxRuntime

if TYPE_CHECKING:
    from .openvino_runtime import OpenVinoRuntime

RuntimeName = Literal["auto", "onnx", "openvino", "tensorrt"]


class Runtime(Protocol):
    """What runs a network: `OnnxRuntime`, `OpenVinoRuntime`, `TensorRTRuntime`. Threads may share one."""

    name: str
    config: NetworkConfig

    @property
    def run(self) -> Run:
        """Images (N, *spatial, C) float32, prepared, on the grid, to logits (N, *spatial, K) float32: a method, or a
        `TwoPhase` where one batch of tiles is copied while another is computed."""
        ...

    def close(self) -> None:
        """Gives back what it holds. It cannot run afterwards; closing twice does nothing."""
        ...


class Predictor:
    """Images in, logits out. Threads may share one. `close` it, or use it in a with statement.

    Attributes:
        bundle: where the network comes from.
        runtime: what runs it.
        passed_over: for each runtime that was tried before it, why it does not run here.
    """

    def __init__(self, bundle: Bundle, runtime: Runtime, passed_over: dict[str, str]):
        self.bundle, self.runtime, self.passed_over = bundle, runtime, passed_over

    def __call__(self, images: np.ndarray, tile: int | tuple[int, ...] | None = None) -> np.ndarray:
        """The logits (N, *spatial, K) float32, for every pixel of images (N, *spatial, C) of any size.

        images: uint8, uint16 or floating; normalised here as the manifest says. What a valid network needs beyond the
        edges is mirrored. tile: at most so many pixels per axis at once; None takes the bundle's own. Tiles give the
        result of the whole image, unless the network sees the whole image (a group or instance norm, interpolation
        with aligned corners): then the bundle's own tile is the whole image, and a smaller one is an approximation.

        Raises InputError on wrong axes, channels or dtype, empty or non-finite images, and a tile that is too small.
        """
        config = self.bundle.config
        prepared = prepare(images, config, self.bundle.data)
        plan = plan_tiles(config.geometry, prepared.shape[1:-1], self.bundle.tile if tile is None else tile)
        return np.stack([predict_tiled(self.runtime.run, image, plan, config.out_channels) for image in prepared])

    def close(self) -> None:
        """Gives back what the runtime holds. Closing twice does nothing."""
        self.runtime.close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load(
    bundle: str | os.PathLike[str] | Bundle,
    runtime: RuntimeName = "auto",
    threads: int | None = None,
    precision: str | None = None,
) -> Predictor:
    """Opens a bundle. runtime: "auto" takes TensorRT where a GPU and an engine for it exist, else ONNX Runtime: on a
    CUDA device where the installed one can, else on the CPU. "openvino" runs the float32 model.

    threads: on the CPU; None takes the cores that this process may use. precision: None takes engines in the bundle's
    order of preference, and float32 in ONNX Runtime, whose CPU kernels gain nothing from another.

    Raises InputError where the bundle is not in order, and where the runtime that was asked for does not run here.
    """
    if runtime not in get_args(RuntimeName):
        raise InputError(f"unknown runtime {runtime!r}; allowed: {', '.join(get_args(RuntimeName))}")
    bundle = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    if precision is not None:
        bundle.onnx_path(precision)  # raises where the bundle does not have it
    if runtime == "openvino":
        return Predictor(bundle, _openvino(bundle, threads, precision), {})
    if runtime == "onnx":
        return Predictor(bundle, _onnx(bundle, threads, precision), {})
    passed_over: dict[str, str] = {}
    engines = [record for record in bundle.engines if precision in (None, record.precision)]
    for record in engines:
        from .tensorrt_runtime import load_engine

        try:
            return Predictor(bundle, load_engine(bundle.engine_path(record), record, bundle.config), passed_over)
        except InputError as e:
            passed_over[record.file] = str(e)
    if not engines:
        passed_over["tensorrt"] = "the bundle has no engine" + (f" in {precision}" if precision else "")
    if runtime == "tensorrt":
        raise InputError(f"no engine of {bundle.folder} runs here: " + "; ".join(dict.fromkeys(passed_over.values())))
    return Predictor(bundle, _onnx(bundle, threads, precision), passed_over)


def _onnx(bundle: Bundle, threads: int | None, precision: str | None) -> OnnxRuntime:
    path = bundle.onnx if precision is None else bundle.onnx_path(precision)
    runtime = OnnxRuntime(path, threads)
    _check_same(runtime.config, path, bundle)
    return runtime


def _openvino(bundle: Bundle, threads: int | None, precision: str | None) -> OpenVinoRuntime:
    if precision not in (None, "fp32"):
        raise InputError(f"openvino runs a bundle in fp32, not in {precision}; take the runtime onnx")
    from .openvino_runtime import OpenVinoRuntime

    runtime = OpenVinoRuntime(bundle.onnx, threads)
    _check_same(runtime.config, bundle.onnx, bundle)
    return runtime


def _check_same(config: NetworkConfig, path: Path, bundle: Bundle) -> None:
    if config != bundle.config:
        raise InputError(f"{path} is another network than {bundle.folder / MANIFEST} says")
