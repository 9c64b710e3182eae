"""Overlap-tile strategy: computes an image of any size tile by tile, in any runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from unet_spec.errors import InputError
from unet_spec.tiling.tiles import Tile, TilePlan
from unet_spec.weights.check import all_finite

from ..windows import Windowed, mirror_window

if TYPE_CHECKING:
    from jaxtyping import Float

Run = Callable[[np.ndarray], np.ndarray]
"""Computes the logits (N, *out, K) of tiles (N, *tile, C), both float32 (or float64 in a reference)."""


def compute_tiles(
    run: Run,
    image: Windowed,
    plan: TilePlan,
    out_channels: int,
    numbers: Iterable[int],
    prepare: Callable[[np.ndarray], np.ndarray] = lambda windows: windows,
    batch: int = 1,
) -> Iterator[tuple[Tile, int, np.ndarray]]:
    """Computes tiles. While one batch is computed, the next one is read, so two batches are in memory.

    Args:
        run: the network.
        image: (*spatial, C).
        plan: plan of the image.
        out_channels: K.
        numbers: numbers of the tiles.
        prepare: converts windows (N, *tile, C) of the image to the input of `run`.
        batch: number of tiles per call of `run`.

    Returns:
        Each tile, its number, and the logits (*target, K) of its pixels, in the order of `numbers`.

    Raises:
        InputError: the plan is for another size, or `run` returns an unexpected shape, NaN or infinite values.
    """
    if tuple(image.shape[:-1]) != plan.image:
        raise InputError(f"the plan is for an image of {plan.image} pixels, the image has {tuple(image.shape[:-1])}")
    out = tuple(axis.tile - 2 * axis.margin for axis in plan.axes)

    def read(group: list[int]) -> tuple[list[Tile], np.ndarray]:
        tiles = [plan[n] for n in group]
        windows = [mirror_window(image, tile.start, tile.shape) for tile in tiles]
        return tiles, prepare(np.ascontiguousarray(np.stack(windows)))

    groups = _groups(numbers, batch)
    with ThreadPoolExecutor(1, "read") as reader:
        waiting = ((group, reader.submit(read, group)) for group in groups)
        for group, reading in _ahead(waiting):
            tiles, windows = reading.result()
            logits, expected = run(windows), (len(tiles), *out, out_channels)
            if logits.shape != expected:
                raise InputError(f"the network returned {logits.shape} for tiles {windows.shape}; expected {expected}")
            check_logits(logits)
            for tile, number, own in zip(tiles, group, logits, strict=True):
                yield tile, number, own[tile.source]


def check_logits(logits: np.ndarray) -> None:
    """Raises InputError if a network's logits are not finite."""
    if not all_finite(logits):
        bad = np.count_nonzero(~np.isfinite(logits))
        raise InputError(
            f"the network returned NaN or infinite logits ({bad} of {logits.size}): it overflows on this "
            "image; unet diff finds the layer"
        )


def _ahead(items: Iterable) -> Iterator:
    """Yields each item after the next one has been fetched."""
    iterator = iter(items)
    current = next(iterator, None)
    while current is not None:
        following = next(iterator, None)
        yield current
        current = following


def _groups(numbers: Iterable[int], batch: int) -> Iterator[list[int]]:
    group: list[int] = []
    for number in numbers:
        group.append(number)
        if len(group) == batch:
            yield group
            group = []
    if group:
        yield group


def predict_tiled(
    run: Run,
    image: Float[np.ndarray, "*spatial c"],
    plan: TilePlan,
    out_channels: int,
    batch: int = 1,
    finished: Callable[[int], None] = lambda tiles: None,
) -> Float[np.ndarray, "*spatial k"]:
    """The logits of every pixel of a prepared image. Every pixel is written exactly once, so nothing is blended.

    Args:
        run: the network.
        image: (*spatial, C), as returned by `prepare`.
        plan: `unet_spec.tiling.tiles.plan_tiles` for the image's size: the mirrored windows for `run`, and the part of
            each result to use. If `plan.exact`, the result equals that of the whole image in one piece.
        out_channels: K.
        batch: number of tiles per call of `run`.
        finished: called after each tile with the number of tiles finished so far.

    Returns:
        The logits (*spatial, K), in the image's dtype.

    Raises:
        InputError: as `compute_tiles`.
    """
    result = np.empty((*plan.image, out_channels), image.dtype)
    tiles = compute_tiles(run, image, plan, out_channels, range(len(plan)), batch=batch)
    for count, (tile, _, logits) in enumerate(tiles, start=1):
        result[tile.target] = logits
        finished(count)
    return result


def predict_blended(
    run: Run, image: Float[np.ndarray, "*spatial c"], plan: TilePlan, out_channels: int
) -> Float[np.ndarray, "*spatial k"]:
    """Like `predict_tiled`, but averages all outputs of overlapping tiles, with weights that fall towards the edges.

    It is for networks whose tiles only approximate the whole image, where a seam would be visible. It does not improve
    an exact plan, whose result would no longer be exact because of rounding. Raises InputError as `compute_tiles`.
    """
    total = np.zeros((*plan.image, out_channels), np.float64)
    weight = np.zeros((*plan.image, 1), np.float64)
    wide = _Everything(plan)
    for tile, _, logits in compute_tiles(run, image, wide, out_channels, range(len(plan))):
        ramp = np.ones(())
        for axis, source in zip(plan.axes, tile.source, strict=True):
            size = axis.tile - 2 * axis.margin
            tent = np.minimum(np.arange(1, size + 1), np.arange(size, 0, -1)) / size
            ramp = np.multiply.outer(ramp, tent[source])
        total[tile.target] += ramp[..., None] * logits
        weight[tile.target] += ramp[..., None]
    return (total / weight).astype(image.dtype)


class _Everything(TilePlan):
    """A plan whose tiles contribute all of their outputs inside the image."""

    def __init__(self, plan: TilePlan):
        super().__init__(plan.axes, plan.exact)

    def __getitem__(self, number: int) -> Tile:
        tile = super().__getitem__(number)
        source, target = [], []
        for axis, start in zip(self.axes, tile.start, strict=True):
            first = start + axis.margin
            last = min(first + axis.tile - 2 * axis.margin, axis.image)
            source.append(slice(0, last - first))
            target.append(slice(first, last))
        return Tile(tile.start, tile.shape, tuple(source), tuple(target))
