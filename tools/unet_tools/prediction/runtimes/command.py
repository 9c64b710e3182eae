"""`unet predict --runtime auto`: the work of a command, and a single runtime for each result."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from unet_data.inference.network import OpenNetwork
from unet_data.inference.plan import plan_tiled
from unet_data.inference.predict_file import PredictResult, Progress, predict_file
from unet_data.inference.prepare import prepare
from unet_data.inference.settings import PredictSettings
from unet_data.inference.store import begun_with
from unet_data.inference.views import PAPER_ROTATIONS, symmetries
from unet_data.io.readers import open_pictures
from unet_data.normalize import resolved
from unet_data.spacing.grids import for_network
from unet_data.windows import mirror_window
from unet_spec import InputError
from unet_spec.tiling.planner import Limits

from ...arguments.runtimes import RuntimeName, reopened
from .choice import Choice, Work, choose


def chosen_network(
    path: Path, reference: OpenNetwork, files: Sequence[tuple[Path, Path]], settings: PredictSettings
) -> tuple[OpenNetwork, Choice]:
    """Opens the network in the fastest exact runtime for the images of a command.

    An unfinished result keeps its runtime, since all of its tiles must be computed in the same way.

    Args:
        path: the checkpoint or bundle.
        reference: the network in the default runtime; it is closed if another runtime is chosen.
        files: images and results.
        settings: settings of the prediction.
    """
    first = cast(RuntimeName, reference.name)
    begun: RuntimeName | None = next(filter(None, (_begun(target) for _, target in files)), None)
    work = None if begun else work_of(reference, files, settings)
    if begun:
        choice = Choice(begun, first, "begun")
    elif work is None:  # no image can be read; each error is reported later
        choice = Choice(first, first, "little work")
    else:
        choice = choose(path, reference, work)
    return (reference if choice.name == first else reopened(reference, path, choice.name)), choice


def work_of(reference: OpenNetwork, files: Sequence[tuple[Path, Path]], settings: PredictSettings) -> Work | None:
    """The work of a command, estimated from the first readable image, as if all images had its size. None: no image can
    be read."""
    config = reference.config
    tile = settings.tile_shape(config.spatial_dims)
    for source, _ in files:
        try:
            pictures = open_pictures(source, config.spatial_dims, config.in_channels, settings=settings.reading)
            picture = for_network(pictures[0], reference.data)
            plan = plan_tiled(reference, picture.shape[:-1], Limits(settings.memory, tile=tile, halo=settings.halo))
        except InputError:
            continue

        def window(size: tuple[int, ...], picture: Any = picture, start: Any = plan.tiles[0].start) -> np.ndarray:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the prediction repeats the warnings about the image
                    data = resolved(reference.data, picture, picture.facts.nodata)
                    return prepare(mirror_window(picture, start, size)[None], config, data)
            except InputError:  # for example NaN in this image; others may be valid
                return np.random.default_rng(0).normal(size=(1, *size, config.in_channels)).astype(np.float32)

        views = 1
        if settings.augment == "rotations":
            views = len(PAPER_ROTATIONS)
        elif settings.augment is not None:
            views = len(symmetries(settings.augment, config.spatial_dims))
        macs = plan.work * len(pictures) * views * len(files) / (settings.shard[1] if settings.shard else 1)
        return Work(plan.tiles.tile, macs, window, samples=settings.samples > 0)
    return None


def predict_as_begun(
    network: OpenNetwork,
    path: Path,
    source: Path,
    target: Path,
    settings: PredictSettings,
    progress: Progress,
) -> PredictResult:
    """`predict_file` with the chosen runtime, or, if another process has started the result at the same time, with the
    runtime of that process."""
    try:
        return predict_file(network, source, target, settings, progress)
    except InputError:
        begun = _begun(target)
        if begun is None or begun == network.name:
            raise
    return predict_file(reopened(network, path, begun), source, target, settings, progress)


def _begun(target: Path) -> RuntimeName | None:
    """The runtime of an unfinished result. None if there is none, or it is not exact."""
    begun = begun_with(target)
    return cast(RuntimeName, begun) if begun in get_args(RuntimeName) and begun != "mnn-fast" else None


__all__ = ["chosen_network", "predict_as_begun", "work_of"]
