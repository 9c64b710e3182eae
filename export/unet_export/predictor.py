"""Runs a bundle in the best runtime of this machine."""

from __future__ import annotations

import copy
import itertools
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args, runtime_checkable

import numpy as np

from unet_data.inference.output import Output, probabilities
from unet_data.inference.prepare import looks_foreign, prepare
from unet_data.inference.stitch import Run, predict_tiled
from unet_data.io.facts import ReadSettings, stored_reading
from unet_data.io.readers import open_pictures
from unet_data.objects.settings import ObjectSettings, settings_for
from unet_data.spacing.grids import grids_of
from unet_data.spacing.target import TargetSpacing
from unet_spec import InputError, NetworkConfig
from unet_spec.tiling.tiles import plan_tiles

from .bundle.manifest import MANIFEST, Bundle, open_bundle
from .runtimes.onnx_runtime import OnnxRuntime

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64, Shaped, UInt, UInt32

    from .runtimes.openvino_runtime import OpenVinoRuntime

RuntimeName = Literal["auto", "onnx", "openvino", "tensorrt"]
Tile = int | tuple[int, ...] | None
Progress = Callable[[int, int], None]
"""Called with the number of finished tiles and the total number of tiles."""


@runtime_checkable
class Runtime(Protocol):
    """Interface of the runtimes `OnnxRuntime`, `OpenVinoRuntime` and `TensorRTRuntime`. Threads may share one."""

    name: str
    config: NetworkConfig

    @property
    def run(self) -> Run:
        """A function from images (N, *spatial, C) float32, normalised, of a size on the grid, to logits (N, *out, K)
        float32."""
        ...

    def close(self) -> None:
        """Frees the runtime's memory. It cannot run afterwards; closing twice does nothing."""
        ...


class Predictor:
    """An opened bundle that computes logits, probabilities, labels or objects of images.

    It is thread-safe. In a coroutine, use `await asyncio.to_thread(predictor.labels, images)`. Call `close`, or use a
    with statement.

    Attributes:
        bundle: The opened bundle.
        runtime: The runtime of the network.
        passed_over: Runtimes that were tried first, each with the reason why it does not run here.

    Example:
        >>> import numpy as np
        >>> from unet_export import BundleSettings, load, write_bundle
        >>> from unet_spec import Checkpoint, DataSpec, preset, random_tensors
        >>> config = preset("same", widths=(4, 8))
        >>> checkpoint = Checkpoint(config, random_tensors(config.graph, 0), DataSpec(class_names=("sky", "cell")))
        >>> write_bundle(checkpoint, "bundle", BundleSettings(engines=False)).tile
        (572, 572)
        >>> images = np.zeros((1, 50, 70, 1), np.uint8)
        >>> with load("bundle", "onnx") as predictor:
        ...     predictor(images).shape, predictor.labels(images).shape, predictor.class_names
        ((1, 50, 70, 2), (1, 50, 70), ('sky', 'cell'))
    """

    def __init__(self, bundle: Bundle, runtime: Runtime, passed_over: dict[str, str]):
        self.bundle, self.runtime, self.passed_over = bundle, runtime, passed_over

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class, in the order of the class numbers; "class 0", "class 1", … if none are stored."""
        return self.bundle.data.names(self.bundle.config)

    def __repr__(self) -> str:
        runtime = self.runtime
        what = [runtime.name, getattr(runtime, "precision", ""), getattr(runtime, "provider", "")]
        tile = "tiles of " + " x ".join(map(str, self.bundle.tile)) if self.bundle.tile else "whole images"
        return (
            f"<Predictor of {self.bundle.folder.name} ({self.bundle.digest[:12]}): {self.bundle.config.in_channels} "
            f"channels to {', '.join(self.class_names)}; {tile}; {' '.join(filter(None, what))}>"
        )

    def __call__(
        self, images: Shaped[np.ndarray, "n *spatial c"], tile: Tile = None, progress: Progress | None = None
    ) -> Float32[np.ndarray, "n *spatial k"]:
        """Computes the logits of every pixel of images of any size.

        Args:
            images: (N, *spatial, C) uint8, uint16 or floating; normalised here according to the manifest. Images are
                mirrored at their edges.
            tile: Largest input of the network, in pixels per axis. None: the bundle's tile. The result equals that of
                the whole image, unless the network depends on the whole image (group or instance norm, interpolation
                with aligned corners). For such networks the bundle's tile is the whole image, and a smaller tile gives
                an approximation.
            progress: Called after each tile with the number of finished tiles and the number of tiles of all images.
                Its exceptions end the prediction and are passed to the caller.

        Returns:
            Logits (N, *spatial, K) float32, without a predicted distance, which `objects` uses.

        Raises:
            InputError: On wrong axes, channels or dtype, empty or non-finite images, and a tile that is too small.

        Warns:
            UserWarning: The values of an image are far from those of the training images, such as floats of 0 to 255
                for a network trained on 8-bit images.
        """
        return self._output(images, tile, progress)[..., : self.bundle.config.out_channels]

    def _output(
        self, images: Shaped[np.ndarray, "n *spatial c"], tile: Tile, progress: Progress | None
    ) -> Float32[np.ndarray, "n *spatial k"]:
        """All channels: the logits, then the distance if the network predicts one."""
        config, data = self.bundle.config, self.bundle.data
        images = np.asarray(images)  # tensors of other libraries, too
        prepared = prepare(images, config, data)
        if odd := next(filter(None, (looks_foreign(image, data) for image in images)), None):
            warnings.warn(odd, stacklevel=3)
        plan = plan_tiles(config.geometry, prepared.shape[1:-1], self.bundle.tile if tile is None else tile)
        finished = itertools.count(1)

        def tile_finished(_: int) -> None:
            if progress is not None:
                progress(next(finished), len(prepared) * len(plan))

        run, channels = self.runtime.run, config.output_channels
        return np.stack([predict_tiled(run, image, plan, channels, finished=tile_finished) for image in prepared])

    def probabilities(
        self, images: Shaped[np.ndarray, "n *spatial c"], tile: Tile = None, progress: Progress | None = None
    ) -> Float32[np.ndarray, "n *spatial classes"]:
        """Computes each class's probability: the softmax of the logits, or their sigmoids if classes overlap.

        Args:
            images, tile, progress: As in a call.

        Returns:
            (N, *spatial, classes) float32 in 0..1, in the order of `class_names`.

        Raises:
            InputError: As a call.
        """
        return probabilities(self(images, tile, progress), self.bundle.data.overlapping)

    def labels(
        self, images: Shaped[np.ndarray, "n *spatial c"], tile: Tile = None, progress: Progress | None = None
    ) -> UInt[np.ndarray, "*labels"]:
        """Computes each pixel's class.

        Args:
            images, tile, progress: As in a call.

        Returns:
            Class numbers (N, *spatial) uint8, or uint16 for more than 256 classes. If classes overlap, (N, *spatial,
                classes) uint8: 1 for each class whose probability is above one half.

        Raises:
            InputError: As a call.
        """
        return Output("labels", overlapping=self.bundle.data.overlapping).of(self(images, tile, progress))

    def objects(
        self,
        images: Shaped[np.ndarray, "n *spatial c"],
        settings: ObjectSettings | None = None,
        tile: Tile = None,
        progress: Progress | None = None,
    ) -> list[tuple[UInt32[np.ndarray, "*spatial"], Int64[np.ndarray, " objects"]]]:
        """Separates and numbers the objects of each image, as `unet predict --output objects` does.

        Args:
            images, tile, progress: As in a call.
            settings: How objects are separated. None: the settings stored with the network, or the defaults.

        Returns:
            For each image its object numbers (*spatial) uint32, 0 outside of objects, 1 … n in the order of their
            first pixels; and the class of each object. `unet_data.measure_objects` measures them in a table.

        Raises:
            InputError: As a call; the classes overlap, or the settings do not fit the network.

        Example:
            >>> import numpy as np
            >>> from unet_export import BundleSettings, load, write_bundle
            >>> from unet_spec import Checkpoint, preset, random_tensors
            >>> config = preset("same", widths=(4, 8))
            >>> checkpoint = Checkpoint(config, random_tensors(config.graph, 0))
            >>> bundle = write_bundle(checkpoint, "objects", BundleSettings(engines=False))
            >>> [(labels, classes)] = load(bundle, "onnx").objects(np.zeros((1, 50, 70, 1), np.uint8))
            >>> labels.shape, int(labels.max()) == len(classes)
            ((50, 70), True)
        """
        from unet_data.objects.whole import objects_of  # slow to import

        config = self.bundle.config
        chosen = settings_for(self.bundle.data, config, settings)
        output = Output("objects", distance=config.distance_head)
        found = self._output(images, tile, progress)
        return [objects_of(output.of(image), chosen, config.spatial_dims) for image in found]

    @property
    def tile(self) -> tuple[int, ...]:
        """The default input size of the network, pixels per axis: the bundle's tile, or the smallest size that fits if
        tiles are not exact."""
        return self.bundle.tile or tuple(grid.minimum for grid in self.bundle.config.geometry.grids)

    def warm_up(self) -> float:
        """Runs the network once on zeros of the size `tile`, so that the first request does not wait for the runtime's
        initialisation.

        Returns:
            Duration in seconds.
        """
        start = time.perf_counter()
        self.runtime.run(np.zeros((1, *self.tile, self.bundle.config.in_channels), np.float32))
        return time.perf_counter() - start

    @property
    def reading(self) -> ReadSettings:
        """How files were read in training: `read_image(path, predictor.reading)` reads a file in the same way."""
        return stored_reading(self.bundle.data)

    def read(self, path: str | os.PathLike[str]) -> Shaped[np.ndarray, "n *spatial c"]:
        """Reads an image file in the same way as in training.

        Args:
            path: PNG, JPEG, TIFF, NIfTI or .npy file, .zarr folder, or another format that `unet predict` reads.

        Returns:
            Images (N, *spatial, C) as stored: the pages of a TIFF are N images in 2-D, one volume in 3-D.

        Raises:
            InputError: The file is missing, damaged, too large for the free memory, or has other axes or channels than
                the network.

        Warns:
            UserWarning: The file states another pixel size than the network expects. The pixels are not resampled here,
                as `unet predict` does.

        Example:
            >>> import numpy as np
            >>> from unet_export import BundleSettings, load, write_bundle
            >>> from unet_spec import Checkpoint, preset, random_tensors
            >>> config = preset("same", widths=(4, 8))
            >>> checkpoint = Checkpoint(config, random_tensors(config.graph, 0))
            >>> bundle = write_bundle(checkpoint, "reading", BundleSettings(engines=False))
            >>> np.save("images.npy", np.zeros((2, 50, 70, 1), np.uint8))
            >>> load(bundle, "onnx").read("images.npy").shape
            (2, 50, 70, 1)
        """
        config = self.bundle.config
        pictures = open_pictures(Path(path), config.spatial_dims, config.in_channels, settings=self.reading)
        target = TargetSpacing.of(self.bundle.data)
        if any(grids_of(picture.shape[:-1], picture.facts, target) for picture in pictures):
            warnings.warn(
                f"{path}: the network expects pixels of {target}, the file states others; they are not resampled here, "
                "as unet predict does",
                stacklevel=2,
            )
        return np.stack([picture[tuple(slice(0, n) for n in picture.shape[:-1])] for picture in pictures])

    def __copy__(self) -> Predictor:
        """Opens the model again, like pickling and deep copies: closing one predictor does not close another."""
        return Predictor(self.bundle, copy.copy(self.runtime), dict(self.passed_over))

    def close(self) -> None:
        """Frees the runtime's memory. Closing twice does nothing."""
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
    provider: str | None = None,
) -> Predictor:
    """Opens a bundle in the best runtime of this machine.

    Args:
        bundle: Folder of the bundle, or an opened bundle.
        runtime: "auto" chooses TensorRT if there is a GPU with an engine for it, otherwise ONNX Runtime: on a CUDA
            device if the installed version supports it, otherwise on the CPU. "openvino" runs the float32 model.
        threads: Number of CPU threads. None: the cores that this process may use.
        precision: None: engines in the bundle's order of preference; float32 in ONNX Runtime, whose CPU kernels are not
            faster in other precisions.
        provider: Execution provider of ONNX Runtime, as in `OnnxRuntime`; then only ONNX Runtime is tried.

    Raises:
        InputError: If the bundle is damaged, or `runtime` or `provider` does not run here.

    Example:
        >>> import numpy as np
        >>> from unet_export import BundleSettings, load, write_bundle
        >>> from unet_spec import Checkpoint, preset, random_tensors
        >>> config = preset("paper", widths=(4, 8))
        >>> checkpoint = Checkpoint(config, random_tensors(config.graph, 0))
        >>> bundle = write_bundle(checkpoint, "bundle", BundleSettings(engines=False))
        >>> load(bundle)(np.zeros((2, 50, 70, 1), np.uint8)).shape
        (2, 50, 70, 2)
    """
    if runtime not in get_args(RuntimeName):
        raise InputError(f"unknown runtime {runtime!r}; allowed: {', '.join(get_args(RuntimeName))}")
    bundle = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    if precision is not None:
        bundle.onnx_path(precision)  # raises InputError if the bundle lacks it
    if provider is not None and runtime not in ("auto", "onnx"):
        raise InputError(f"provider is for the runtime onnx, not for {runtime}; leave out one of them")
    if runtime == "openvino":
        if precision not in (None, "fp32"):
            raise InputError(f"openvino runs a bundle in fp32, not in {precision}; use the runtime onnx")
        from .runtimes.openvino_runtime import OpenVinoRuntime

        return _predictor(bundle, OpenVinoRuntime(bundle.onnx, threads), bundle.onnx, {})
    passed_over: dict[str, str] = {}
    if runtime != "onnx" and provider is None:
        for record in (record for record in bundle.engines if precision in (None, record.precision)):
            from .tensorrt.runtime import load_engine

            try:
                return Predictor(bundle, load_engine(bundle.engine_path(record), record, bundle.config), passed_over)
            except InputError as e:
                passed_over[record.file] = str(e)
        if not passed_over:
            passed_over["tensorrt"] = "the bundle has no engine" + (f" in {precision}" if precision else "")
    if runtime == "tensorrt":
        raise InputError(f"no engine of {bundle.folder} runs here: " + "; ".join(dict.fromkeys(passed_over.values())))
    path = bundle.onnx if precision is None else bundle.onnx_path(precision)
    return _predictor(bundle, OnnxRuntime(path, threads, provider), path, passed_over)


def _predictor(
    bundle: Bundle, runtime: OnnxRuntime | OpenVinoRuntime, path: Path, passed_over: dict[str, str]
) -> Predictor:
    if runtime.config != bundle.config:
        raise InputError(f"{path} is a different network than {bundle.folder / MANIFEST} describes")
    return Predictor(bundle, runtime, passed_over)
