"""Overlap-tile: an image of any size through a network, tile by tile, in whatever runs it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from unet_data.tiles import mirror_window
from unet_spec.errors import InputError
from unet_spec.tiling import Tile, TilePlan

Run = Callable[[np.ndarray], np.ndarray]
"""From (N, *tile, C) to the logits (N, *out, K) of these tiles, both float32 (or float64 in a reference)."""


@dataclass(frozen=True)
class TwoPhase:
    """A `Run` in two halves: `start` enqueues a batch, what it returns waits for it. Two batches may be under way."""

    start: Callable[..., Callable[[], np.ndarray]]

    def __call__(self, images: np.ndarray, *noise: np.ndarray | None) -> np.ndarray:
        return self.start(images, *noise)()


class Windowed(Protocol):
    """An image (*spatial, C) that is read by windows: an array, or a `unet_data.readers.Picture`."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    def __getitem__(self, window: tuple[slice, ...], /) -> np.ndarray: ...


def compute_tiles(
    run: Run,
    image: Windowed,
    plan: TilePlan,
    out_channels: int,
    numbers: Iterable[int],
    prepare: Callable[[np.ndarray], np.ndarray] = lambda windows: windows,
    batch: int = 1,
) -> Iterator[tuple[Tile, int, np.ndarray]]:
    """Each tile of `numbers`, its number, and the logits (*target, K) of its pixels, in the order given.

    While one batch of tiles is computed, the windows of the next are read, so two batches are in memory. `prepare`
    takes windows (N, *tile, C) as they are in the image to what `run` takes.

    Raises InputError where the plan is for another size, or `run` gives another shape than the plan expects.
    """
    if tuple(image.shape[:-1]) != plan.image:
        raise InputError(f"the plan is for an image of {plan.image} pixels, the image has {tuple(image.shape[:-1])}")
    out = tuple(axis.tile - 2 * axis.margin for axis in plan.axes)

    def read(group: list[int]) -> tuple[list[Tile], np.ndarray]:
        tiles = [plan[n] for n in group]
        windows = [mirror_window(image, tile.start, tile.shape) for tile in tiles]  # type: ignore[arg-type]
        return tiles, prepare(np.ascontiguousarray(np.stack(windows)))

    groups = _groups(numbers, batch)
    with ThreadPoolExecutor(1, "read") as reader:
        waiting = ((group, reader.submit(read, group)) for group in groups)
        ready = ((group, *future.result()) for group, future in _ahead(waiting))
        for group, tiles, windows, logits in _computed(run, ready):
            if logits.shape != (len(tiles), *out, out_channels):
                raise InputError(
                    f"the network gave {logits.shape} for tiles {windows}; expected {(len(tiles), *out, out_channels)}"
                )
            for tile, number, own in zip(tiles, group, logits, strict=True):
                yield tile, number, own[tile.source]


Ready = tuple[list[int], list[Tile], np.ndarray]


def _computed(run: Run, ready: Iterable[Ready]) -> Iterator[tuple[list[int], list[Tile], tuple[int, ...], np.ndarray]]:
    """The batches with the shape of their windows and their logits. One in two phases is started before the one before
    it is waited for; whatever happens, none is left under way."""
    if not isinstance(run, TwoPhase):
        yield from ((group, tiles, windows.shape, run(windows)) for group, tiles, windows in ready)
        return
    under_way: deque = deque()
    try:
        for group, tiles, windows in ready:
            under_way.append((group, tiles, windows.shape, run.start(windows)))
            if len(under_way) == 2:
                *told, finish = under_way.popleft()
                yield (*told, finish())
        while under_way:
            *told, finish = under_way.popleft()
            yield (*told, finish())
    finally:
        for *_, finish in under_way:
            finish()


def _ahead(items: Iterable) -> Iterator:
    """The items, each after the next one has been asked for."""
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


def predict_tiled(run: Run, image: np.ndarray, plan: TilePlan, out_channels: int, batch: int = 1) -> np.ndarray:
    """The logits (*spatial, K) of every pixel of an image (*spatial, C), in the image's dtype.

    `plan` comes from `unet_spec.tiling.plan_tiles` for the image's size and says which mirrored windows `run` sees and
    which part of each result is kept. Every pixel is written exactly once, so nothing is blended; where `plan.exact`,
    the result is that of the whole image in one piece. Raises InputError as `compute_tiles`.
    """
    result = np.empty((*plan.image, out_channels), image.dtype)
    for tile, _, logits in compute_tiles(run, image, plan, out_channels, range(len(plan)), batch=batch):
        result[tile.target] = logits
    return result


def predict_blended(run: Run, image: np.ndarray, plan: TilePlan, out_channels: int) -> np.ndarray:
    """As `predict_tiled`, but every output of every tile counts, weighted by a ramp that falls towards the tile's
    edges: for networks whose tiles only approximate the whole image, where a hard seam would show. An exact plan gains
    nothing from it, and loses its exactness to rounding. Raises InputError as `compute_tiles`.
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
    """A plan whose tiles keep all that they compute of the image."""

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
