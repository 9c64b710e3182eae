"""Computes the tiles of a result in one of several ways, and writes them while the next ones are computed.

In all of them, a result is a sequence of (number of the tile in a `TileStore`, logits (*target, K)). Three threads
work on three batches of tiles: one reads the next batch, one computes, one writes the last batch. `by_tiles` and
`by_strips` have only these in memory, whatever the size of the image; `by_samples` and `whole` hold one image.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from unet_spec.ops import draw_noise
from unet_spec.tiling.planner import Plan
from unet_spec.tiling.tiles import TilePlan

from ..windows import Windowed
from .network import OpenNetwork
from .output import Output
from .predict import default_plan, predict_output, sample_image
from .settings import PredictSettings
from .stitch import compute_tiles, predict_blended
from .store import TileStore
from .strips import compute_bands
from .views import augmented, predict_rotated

Results = Generator[tuple[int, np.ndarray], None, None]
Written = Callable[[int, int], None]
"""Called for each tile that has been written, with its number and its number of pixels."""


def write_results(
    results: Results, store: TileStore, output: Output, written: Written = lambda number, pixels: None
) -> None:
    """Writes each tile to the store while the next one is computed.

    Raises:
        InputError: a window cannot be read or has values that the network refuses, or the disk is full. Finished tiles
            stay in the store.
    """

    def put(number: int, logits: np.ndarray) -> None:
        store.put(number, output.of(logits))
        written(number, logits[..., 0].size)

    with ThreadPoolExecutor(1, "write") as writer, closing(results):
        pending: Future[None] | None = None
        for number, logits in results:
            if pending is not None:
                pending.result()
            pending = writer.submit(put, number, logits)
        if pending is not None:
            pending.result()


def by_tiles(
    network: OpenNetwork, pictures: Sequence[Windowed], plan: Plan, numbers: Sequence[int], settings: PredictSettings
) -> Results:
    """Computes tile by tile. `pictures` are (*spatial, C) and have the size of the plan."""
    config, symmetry, run = network.config, settings.augment, network.run
    if symmetry is not None and symmetry != "rotations":
        run = augmented(run, symmetry, network.data.overlapping, config.distance_head)
    channels, batch = config.output_channels, plan.batch
    for page, own in _pages(numbers, plan.tiles):
        tiles = compute_tiles(run, pictures[page], plan.tiles, channels, own, network.prepare, batch)
        for _, number, logits in tiles:
            yield page * len(plan.tiles) + number, logits


def by_strips(
    network: OpenNetwork, pictures: Sequence[Windowed], plan: Plan, numbers: Sequence[int], rows: int
) -> Results:
    """Computes strip by strip, `rows` of the canvas at a time.

    Nothing is computed twice, and memory grows only with the image's width. If some bands exist already, strips begin
    above the first missing band, at the first row on which it depends. `plan` is a plan of bands, see
    `unet_spec.tiling.strips.plan_bands`.
    """
    for page, own in _pages(numbers, plan.tiles):
        for number, logits in compute_bands(network, pictures[page], plan.tiles, own, rows):
            yield page * len(plan.tiles) + number, logits


def by_samples(
    network: OpenNetwork, pictures: Sequence[Windowed], plan: Plan, numbers: Sequence[int], settings: PredictSettings
) -> Results:
    """Samples hypotheses, image by image. Each image has different noise."""
    config, count = network.config, settings.samples
    pages = dict(_pages(numbers, plan.tiles))
    for index in sorted({page // count for page in pages}):
        noise = draw_noise(config.graph, count, settings.seed, index)
        run: Any = network.run  # a network with a latent variable takes its noise as well
        hypotheses = sample_image(run, _whole(pictures[index]), config, network.data, noise, plan.tiles)
        for page, logits in enumerate(hypotheses, start=index * count):
            yield from _cut(logits, plan.tiles, page, pages.get(page, []))


def whole(
    network: OpenNetwork, pictures: Sequence[Windowed], plan: Plan, numbers: Sequence[int], settings: PredictSettings
) -> Results:
    """Computes with the whole image in memory, for blending and rotations."""
    config = network.config

    def predict(image: np.ndarray) -> np.ndarray:
        tiles = plan.tiles if image.shape[:-1] == plan.tiles.image else default_plan(config, image.shape[:-1])
        if not settings.blend:
            return predict_output(network.run, image, config, network.data, tiles)
        return predict_blended(network.run, network.prepare(image[None])[0], tiles, config.output_channels)

    for page, own in _pages(numbers, plan.tiles):
        image = _whole(pictures[page])
        rotated = partial(predict_rotated, predict, overlapping=network.data.overlapping, distance=config.distance_head)
        logits = rotated(image) if settings.augment == "rotations" else predict(image)
        yield from _cut(logits, plan.tiles, page, own)


def _pages(numbers: Sequence[int], tiles: TilePlan) -> Iterator[tuple[int, list[int]]]:
    """For each page that has tiles: its number, and the numbers of the tiles within it."""
    for page, group in groupby(sorted(numbers), lambda number: number // len(tiles)):
        yield page, [number % len(tiles) for number in group]


def _cut(logits: np.ndarray, tiles: TilePlan, page: int, numbers: Sequence[int]) -> Results:
    """The tiles `numbers` of one page, whose logits are (*spatial, K)."""
    for number in numbers:
        yield page * len(tiles) + number, logits[tiles[number].target]


def _whole(picture: Windowed) -> np.ndarray:
    return picture[tuple(slice(0, n) for n in picture.shape[:-1])]
