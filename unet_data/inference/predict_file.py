"""Predicts a file, from reading the image to writing the result.

    open the pictures → check the target → plan tiles or strips within the memory → compute what is missing,
    tile by tile, into a folder beside the target → write the target → remove the folder

Only a few tiles are in memory, whatever the size of the image. After a kill, the same call continues the run.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec import InputError
from unet_spec.files import leftovers, remove
from unet_spec.ops import draw_noise
from unet_spec.tiling.planner import Plan

from ..datasets.dataset import size_text
from ..io.budget import memory_limit
from ..io.carried import lost
from ..io.facts import DEFAULTS, PLAIN, FileFacts
from ..io.formats.encode_zarr import is_ome_target, labelled_image
from ..io.readers import Picture, open_pictures
from ..io.stores.remote import identity, shown, url_of
from ..io.stores.signed import unsigned
from ..io.writers import check_not_input, check_target, ending
from ..memory import peak_resident, resident, restart_peak
from ..normalize import resolved
from ..objects.results import ObjectFiles, ObjectsFound, write_objects
from ..objects.settings import ObjectSettings, settings_for
from ..spacing.grids import grids_of, noted
from ..spacing.target import TargetSpacing
from ..windows import Windows, bands
from .network import OpenNetwork
from .output import Output, class_shares
from .plan import ImagePlan, plan_file
from .prepare import looks_foreign
from .restored import Restored
from .results import Results, by_samples, by_strips, by_tiles, whole, write_results
from .settings import PredictSettings
from .store import OBJECTS, Mosaic, TileStore, check_room, shard
from .strips import stream_of


class Progress:
    """Receives the progress reports of `predict_file`. By default, warnings become Python warnings and nothing else is
    shown.

    Example:
        >>> from unet_data import Progress
        >>> class Printed(Progress):
        ...     def planned(self, message, total, before):
        ...         print(message)
    """

    def warn(self, message: str) -> None:
        """Reports a suspicious property of the image, which is computed nevertheless."""
        warnings.warn(message, stacklevel=3)

    def planned(self, message: str, total: int, before: int) -> None:
        """Reports a description of the plan, the total number of pixels, and the number that earlier runs computed."""

    def written(self, number: int, pixels: int) -> None:
        """Reports that a tile has been written: its number, and its number of pixels."""

    def labelled(self, number: int, count: int) -> None:
        """Reports that the objects of a block are labelled: its number, and the number of blocks."""


@dataclass(frozen=True)
class PredictResult:
    """Result of predicting a file.

    Attributes:
        plan: the tiles and their cost.
        shape: shape of the result.
        computed, tiles: number of tiles computed in this call, and total number.
        pixels, seconds: pixels computed in this call, and the time for them.
        finished: whether the result is written; False for a shard.
        before, peak: memory in bytes before the first tile, and the maximum while tiles were computed.
        shares: shares of each class in the pixels of a result of labels; else empty.
        objects: the objects found, for the output "objects" when finished.
        facts: the file's metadata about its pixels, and the decisions of the reader.

    Example:
        >>> from unet_data import PredictResult
        >>> [name for name in PredictResult.__dataclass_fields__][:2]
        ['plan', 'shape']
    """

    plan: Plan
    shape: tuple[int, ...]
    computed: int
    tiles: int
    pixels: int
    seconds: float
    finished: bool
    before: int
    peak: int
    shares: tuple[float, ...] = ()
    objects: ObjectsFound | None = None
    facts: FileFacts = PLAIN


def predict_file(
    network: OpenNetwork,
    source: str | Path,
    target: str | Path,
    settings: PredictSettings | None = None,
    progress: Progress | None = None,
) -> PredictResult:
    """Segments an image of any size, as `unet predict` does.

    Finished tiles are kept in `target`.part until the result is written, so an interrupted call can be repeated.

    Args:
        network: the network, in an open runtime.
        source: PNG, JPEG, TIFF, BigTIFF, OME-TIFF, .npy or .zarr: one or more images of one size (each page of a TIFF),
            or volumes.
        target: .tif, .png, .npy, .zarr, .nii or .nii.gz; several images or samples are its pages, or its first axis.
        settings: settings of the prediction. Default: labels, by tiles.
        progress: receives progress reports.

    Returns:
        The plan, the shape of the result, time and memory.

    Raises:
        InputError: the image cannot be read or does not suit the network, the target exists or cannot be written, the
            memory or the disk is too small, or `target`.part holds another run.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from unet_data import OpenNetwork, predict_file, read_labels, write_stack
        >>> from unet_spec import DataSpec, preset
        >>> class Brightness:  # a runtime: images (N, H, W, 1) to logits (N, H, W, 2)
        ...     name, config = "brightness", preset("same")
        ...     def run(self, images):
        ...         return np.concatenate([1 - images, images], -1)
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_stack(folder / "image.png", np.full((1, 40, 30), 200, np.uint8))
        >>> done = predict_file(OpenNetwork(Brightness(), DataSpec()), folder / "image.png", folder / "labels.png")
        >>> done.shape, int(read_labels(folder / "labels.png").min())
        ((40, 30), 1)
    """
    source, target = unsigned(source), Path(target)
    where = shown(source)
    settings, progress = settings or PredictSettings(), progress or Progress()
    config, output = network.config, _output(network, target, settings)
    check_prediction(network, source, target, settings)
    settings = replace(settings, reading=settings.reading or network.reading)
    with memory_limit(settings.memory):
        pictures = open_pictures(source, config.spatial_dims, config.in_channels, settings=settings.reading)
    values, dtype = output.pixel(config)
    pages = len(pictures) * max(settings.samples, 1)
    check_target(target, settings.overwrite, *_of_file(settings, dtype, values), pages, config.spatial_dims)
    size = pictures[0].shape[:-1]
    grids = grids_of(size, pictures[0].facts, TargetSpacing.of(network.data))
    seen = pictures if grids is None else [grids.picture(each) for each in pictures]
    stored = output if grids is None else Output("logits")
    objects = settings_for(network.data, config, settings.objects) if settings.output == "objects" else None
    files = ObjectFiles(target, settings.table, settings.outlines)
    if objects is not None:
        files.check(size, config.classes, objects, settings.memory, settings.overwrite)
    folder = target.with_name(target.name + ".part")
    stored_values, stored_dtype = stored.pixel(config)
    check_room(folder, pages * math.prod((*seen[0].shape[:-1], *stored_values)) * stored_dtype.itemsize)
    for message in _oddities(network, pictures):
        progress.warn(f"{where}: {message}")
    suffix = ".ome.zarr" if is_ome_target(target) else ending(target)
    if without := lost(pictures[0].facts, suffix, output.pixel(config)[1]):
        progress.warn(f"{where}: {without}")

    request = _request(network, source, pictures, settings, output, objects)
    plan = plan_file(network, seen[0].shape[:-1], settings, folder, request)
    store = TileStore(folder, plan.work.tiles, pages, stored_values, stored_dtype)
    numbers = range(len(store)) if settings.shard is None else shard(len(store), *settings.shard)
    missing = sorted(set(numbers) - store.done())
    total, left = store.pixels(numbers), store.pixels(missing)
    shape = size_text(size) + (f" resampled to {size_text(seen[0].shape[:-1])}" if grids else "")
    progress.planned(f"{where}: {len(pictures)} x {shape}: {plan.work.describe()}", total, total - left)

    restart_peak()
    before, start = resident(), time.perf_counter()
    with store.joined() as alone:
        with _removed_if_refused(store, settings):
            write_results(_results(network, seen, plan, missing, settings), store, stored, progress.written)
        seconds, peak = time.perf_counter() - start, peak_resident()
        shares: tuple[float, ...] = ()
        found = None
        if finished := settings.shard is None:
            maps: list[Windows] = [Mosaic(store, page) for page in range(pages)]
            if grids is not None:
                maps = [Restored(Mosaic(store, page), grids, output, config) for page in range(pages)]
            if objects is None:
                labels = output.kind == "labels" and not values
                store.write(target, pictures[0].facts, labels, maps)
                if output.kind == "labels":
                    shares = _shares(store, maps, network.data.class_count(config))
            else:
                names = network.data.names(config)
                found = write_objects(
                    maps, folder / OBJECTS, objects, files, names, source, pictures, settings.memory, progress.labelled
                )
            if alone():  # the last process also removes what killed ones left
                for path in leftovers(target.parent, [target.name]) if url_of(target) is None else ():
                    remove(path)
                store.remove()
    _, values = _of_file(settings, dtype, values)
    result_shape = (*((pages,) if pages > 1 else ()), *size, *values)
    done, facts = (len(missing), len(numbers)), noted(pictures[0].facts, size, network.data)
    return PredictResult(plan.work, result_shape, *done, left, seconds, finished, before, peak, shares, found, facts)


def check_prediction(network: OpenNetwork, source: Path, target: Path, settings: PredictSettings) -> None:
    """Checks a prediction as far as possible before the image is opened.

    Raises:
        InputError: the prediction would fail.
    """
    config = network.config
    if labelled_image(target) is not None and settings.output not in ("labels", "objects"):
        raise InputError(
            f"{shown(target)}: a label image holds only labels or objects; write {settings.output} to another .zarr"
        )
    if url_of(target) is not None and settings.output == "objects":
        raise InputError(f"{shown(target)}: objects can only be written to a local file, not behind a URL")
    values, dtype = _output(network, target, settings).pixel(config)
    pixel = _of_file(settings, dtype, values)
    check_target(target, settings.overwrite, *pixel, max(settings.samples, 1), config.spatial_dims)
    check_not_input(target, [source])
    if settings.output == "objects":
        if network.data.overlapping:
            raise InputError("objects need one class per pixel; the classes of this network may overlap")
        settings_for(network.data, config, settings.objects)
    settings.tile_shape(config.spatial_dims)  # raises if it is for another number of axes
    if settings.strips:
        stream_of(network)
    if settings.samples:
        draw_noise(config.graph, settings.samples, settings.seed)  # raises if there is no latent variable
        if network.name in ("mnn", "mnn-fast", "openvino"):
            raise InputError(f"{network.name} cannot draw --samples, since it has no noise input; add --runtime onnx")


def _shares(store: TileStore, maps: Sequence[Windows], classes: int) -> tuple[float, ...]:
    """The share of each class in the pixels of the result."""
    parts: Iterable[np.ndarray] = (store.load(number) for number in sorted(store.done()))  # each tile is read once
    if isinstance(maps[0], Restored):
        windows = ((each, band) for each in maps for band in bands(each.shape[: each.spatial_dims]))
        parts = (each.window(tuple(s.start for s in band), tuple(s.stop for s in band)) for each, band in windows)
    return class_shares(parts, classes, masks=len(maps[0].shape) > maps[0].spatial_dims)


def _output(network: OpenNetwork, target: Path, settings: PredictSettings) -> Output:
    """The kind of output that is stored in the tiles."""
    written = settings.written_to(target)
    return replace(written, overlapping=network.data.overlapping, distance=network.config.distance_head)


def _of_file(settings: PredictSettings, dtype: np.dtype, values: tuple[int, ...]) -> tuple[np.dtype, tuple[int, ...]]:
    """dtype and shape of a pixel of the target, from those of a pixel of the store."""
    return (np.dtype(np.uint16), ()) if settings.output == "objects" else (dtype, values)


def _oddities(network: OpenNetwork, pictures: Sequence[Picture]) -> Iterator[str]:
    if len(pictures[0].shape) == 4 and pictures[0].shape[0] == 1:
        yield "a single plane, but the network takes volumes"
    data = network.data if pictures[0].facts.nodata is None else replace(network.data, nodata=pictures[0].facts.nodata)
    if odd := looks_foreign(pictures[0], data):
        yield odd


def _results(
    network: OpenNetwork, pictures: Sequence[Picture], plan: ImagePlan, missing: list[int], settings: PredictSettings
) -> Results:
    """The tiles, picture by picture, since a picture may be normalised by its own statistics."""
    tiles = len(plan.work.tiles) * max(settings.samples, 1)
    for index in sorted({number // tiles for number in missing}):
        own = [number for number in missing if number // tiles == index]
        picture = pictures[index]
        prepared = replace(network, data=resolved(network.data, picture, picture.facts.nodata))
        yield from _computed(prepared, pictures, plan, own, settings)


def _computed(
    network: OpenNetwork, pictures: Sequence[Picture], plan: ImagePlan, missing: list[int], settings: PredictSettings
) -> Results:
    if settings.strips:
        return by_strips(network, pictures, plan.work, missing, plan.rows)
    compute = by_samples if settings.samples else whole if settings.whole else by_tiles
    return compute(network, pictures, plan.work, missing, settings)


@contextmanager
def _removed_if_refused(store: TileStore, settings: PredictSettings) -> Iterator[None]:
    """Removes the tiles' folder if InputError is raised before a tile is finished: the corrected run may differ."""
    try:
        yield
    except InputError:
        if settings.shard is None and not store.done():
            store.remove()
        raise


def _request(
    network: OpenNetwork,
    source: Path,
    pictures: Sequence[Picture],
    settings: PredictSettings,
    output: Output,
    objects: ObjectSettings | None,
) -> dict[str, Any]:
    """Everything that the pixels of the result depend on."""
    made = {} if objects is None else {"objects": objects.to_dict()}
    return made | {
        "image": [*identity(source), len(pictures), *pictures[0].shape],
        "network": network.identity,
        "runtime": network.name,
        "output": asdict(output),
        "tile": settings.tile,
        "halo": settings.halo,
        "strips": settings.strips,
        "augment": settings.augment,
        "blend": settings.blend,
        "samples": [settings.samples, settings.seed],
        **({} if settings.reading in (None, DEFAULTS) else {"reading": asdict(settings.reading)}),
    }
