"""Trains on painted labels; unpainted pixels are ignored."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unet_data import IGNORED, Dataset
from unet_spec import InputError
from unet_spec.files import cache_folder

from .layers import LayerImages, channel_axis
from .results import PAINTED
from .work import Cancelled, Step, reported

MOST = 255
"""Maximum number of painted classes, since class numbers are 8-bit."""


@dataclass(frozen=True)
class Trained:
    """A network that was trained on painted labels.

    Attributes:
        folder: its checkpoint.
        seconds: duration of the training.
        steps: number of training steps.
    """

    folder: Path
    seconds: float
    steps: int


def painted_dataset(image: Any, labels: Any, dims: int = 2) -> Dataset:
    """Makes a data set from painted images: every painted number is a class, and 0 is ignored.

    Args:
        image: the image layer.
        labels: the labels layer, with the image's shape without channels.
        dims: 2 trains on planes, 3 on volumes.

    Raises:
        InputError: the shapes of the layers differ, or there are fewer than two or more than MOST numbers.

    Example:
        >>> from types import SimpleNamespace
        >>> grey = SimpleNamespace(data=np.zeros((3, 40, 30), np.uint8), name="em", rgb=False, multiscale=False)
        >>> paint = SimpleNamespace(data=np.zeros((3, 40, 30), int), name="paint")
        >>> paint.data[1, :5], paint.data[1, 20:] = 1, 4
        >>> data = painted_dataset(grey, paint)
        >>> data.names, data.class_names, np.unique(data.labels[0]).tolist()
        (('em-1',), ('label 1', 'label 4'), [-1, 0, 1])
    """
    paint = np.asarray(labels.data[0] if getattr(labels, "multiscale", False) else labels.data)
    numbers = [int(n) for n in np.unique(paint) if n > 0]
    if len(numbers) < 2:
        painted = f"only {numbers[0]}" if numbers else "nothing"
        raise InputError(
            f"the layer {labels.name} has {painted} painted: paint some pixels of each class, such as 1 on the "
            "background and 2 on the cells"
        )
    if len(numbers) > MOST:
        raise InputError(f"the layer {labels.name} has {len(numbers)} numbers; each is a class, and {MOST} are allowed")
    images = _images(image, paint.shape, labels.name, dims)
    code = np.full(numbers[-1] + 1, IGNORED, np.int32)
    code[numbers] = range(len(numbers))
    chosen = [index for index in range(len(images)) if (paint[images.place(index)] > 0).any()]
    digits = len(str(len(images) - 1))
    names = [image.name if len(images) == 1 else f"{image.name}-{index:0{digits}d}" for index in chosen]
    return Dataset(
        images=tuple(images[index] for index in chosen),
        labels=tuple(code[np.maximum(paint[images.place(index)], 0)] for index in chosen),
        names=tuple(names),
        class_names=tuple(PAINTED.format(n) for n in numbers),
        source=f"the layer {image.name}",
        ignore=0,
    )


def _images(image: Any, shape: tuple[int, ...], paint: str, dims: int) -> LayerImages:
    """The images of the layer. Its channel axis is the one that the painted labels lack."""
    images = LayerImages((image,), dims)
    if images.shape == shape:
        return images
    whole = images.shape
    fitting = [axis for axis in range(len(whole)) if whole[:axis] + whole[axis + 1 :] == shape]
    if image.rgb or not fitting:
        raise InputError(
            f"the layers {image.name} {whole} and {paint} {shape} differ in shape; paint on a labels layer of the "
            "image's size"
        )
    axis = fitting[0] if len(fitting) == 1 else channel_axis(image, dims, whole[fitting[0]])
    return LayerImages((image,), dims, axis)


def run_folder(name: str) -> Path:
    """A new run folder for a layer of this name in the cache folder: napari/NAME-1, -2, …"""
    parent = cache_folder() / "napari"
    own = "".join(c if c.isalnum() or c in "-_" else "-" for c in name).strip("-")[:60] or "layer"
    number = 1
    while (parent / f"{own}-{number}").exists():
        number += 1
    return parent / f"{own}-{number}"


def train_painted(
    dataset: Dataset, minutes: float, folder: Path, cancel: threading.Event, widths: tuple[int, ...] | None = None
) -> Generator[Step, None, Trained]:
    """Trains like `unet train DATA --minutes`, with the automatic plan. Yields steps of planning and training.

    Every tile contains painted pixels. All painted pixels are used for training, so there is no validation.

    Args:
        dataset: see `painted_dataset`.
        minutes: duration in minutes of the whole run.
        folder: a new run folder.
        cancel: stops the training at its next report.
        widths: feature maps per level. None: from the plan.

    Returns:
        The trained network, as the generator's return value.

    Raises:
        InputError: like `unet_jax.train`, and if JAX is not installed.
        Cancelled: `cancel` was set.
    """
    from importlib.util import find_spec

    if any(find_spec(package) is None for package in ("jax", "flax", "optax", "orbax")):
        raise InputError("training needs JAX; pip install 'unet-twins[jax]'")
    return (yield from reported(lambda report: _train(dataset, minutes, folder, report, cancel, widths), cancel))


def _train(
    dataset: Dataset, minutes: float, folder: Path, report: Any, cancel: threading.Event, widths: Any
) -> Trained:
    from unet_jax import plan_training, preset, train
    from unet_jax.training.planning.rules import AUTO
    from unet_jax.training.planning.speed import seconds_per_step
    from unet_jax.training.run.folder import check_new

    from ..training.programs import cached_programs

    def timed(config: Any, settings: Any, training: Dataset) -> float:
        report(Step(0, 0, f"planning: steps of a network with {config.graph.parameter_count:,} parameters are timed"))
        return seconds_per_step(config, settings, training)

    start = time.perf_counter()
    network = preset("paper").replace(
        in_channels=dataset.channels, out_channels=dataset.class_count, spatial_dims=dataset.spatial_dims
    )
    given: dict[str, Any] = {"oversample": 1.0, "ignore": dataset.ignore}
    given |= {} if widths is None else {"widths": widths}
    check_new(folder, False)  # before planning, which takes time
    folder.parent.mkdir(parents=True, exist_ok=True)
    with cached_programs(None, quiet=True):
        plan = plan_training(network, dataset, settings=AUTO.settings, given=given, seconds=60 * minutes, timed=timed)
        steps = plan.settings.optimisation.steps
        settings = plan.settings.replace(log_every=max(1, min(10, steps // 20)))

        def follow(record: dict[str, Any]) -> None:
            if cancel.is_set():
                raise Cancelled
            if "compiling" in record:
                report(Step(0, steps, f"compiling {record['compiling']}"))
            elif "loss" in record:
                done, speed = record["step"], record["steps_per_second"]
                left = int((steps - done) / max(speed, 1e-9))
                clock = f"{left // 60}:{left % 60:02d}"
                report(Step(done, steps, f"step {done} of {steps}, loss {record['loss']:.3f}, {clock} left"))

        train(plan.network, settings, dataset, None, folder, report=follow)
    best = folder / "best"
    return Trained(best if best.is_dir() else folder / "last", time.perf_counter() - start, steps)
