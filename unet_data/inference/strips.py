"""Computes an image strip by strip, in runtimes that store the few rows of each layer that the next strip needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from unet_spec import InputError
from unet_spec.tiling.strips import first_row
from unet_spec.tiling.tiles import TilePlan

from ..windows import Windowed, mirror_window
from .network import OpenNetwork
from .stitch import check_logits

Stream = Callable[[Callable[[int, int], np.ndarray], int, int], Iterator[tuple[int, np.ndarray]]]
"""`stream` of a runtime: from (read, height, rows) to the first row and logits (rows, *others, K) of each strip."""


def stream_of(network: OpenNetwork) -> Stream:
    """The `stream` method of a network's runtime.

    Raises:
        InputError: the runtime cannot compute strips.
    """
    stream = getattr(network.runtime, "stream", None)
    if stream is None:
        raise InputError(f"--strips runs in torch or jax, not in {network.name}; add --runtime torch")
    return stream


def compute_bands(
    network: OpenNetwork, picture: Windowed, plan: TilePlan, numbers: list[int], rows: int
) -> Iterator[tuple[int, np.ndarray]]:
    """The bands `numbers` of one picture in order, each as (number, logits (rows, *others, K)).

    Args:
        network: a network whose runtime has `stream`.
        picture: (*spatial, C).
        plan: plan of bands, see `unet_spec.tiling.strips.plan_bands`.
        numbers: numbers of the bands, sorted.
        rows: number of canvas rows that enter at a time, a multiple of the network's total stride.
    """
    start = 0
    for i, number in enumerate(numbers):
        if i + 1 == len(numbers) or numbers[i + 1] != number + 1:  # the end of a run of consecutive bands
            yield from _stretch(network, picture, plan, (numbers[start], number), rows)
            start = i + 1


def _stretch(
    network: OpenNetwork, picture: Windowed, plan: TilePlan, numbers: tuple[int, int], rows: int
) -> Iterator[tuple[int, np.ndarray]]:
    """The bands from the first to the last of `numbers`."""
    axis, *others = plan.axes
    band, last = numbers
    top = first_row(network.config.geometry, axis.edges[band])
    height = axis.canvas - top

    def read(low: int, high: int) -> np.ndarray:
        start = (top + low - axis.margin, *(-a.margin for a in others))
        window = mirror_window(picture, start, (high - low, *(a.canvas for a in others)))
        return network.prepare(np.ascontiguousarray(window)[None])[0]

    inside = tuple(slice(0, a.image) for a in others)
    parts: list[np.ndarray] = []
    start_row = top  # the first row of `parts`
    with ThreadPoolExecutor(1, "read") as reader:
        for _, logits in stream_of(network)(_ahead(read, height, reader), height, rows):
            check_logits(logits)
            parts.append(logits[(slice(None), *inside)])
            while band <= last and start_row + sum(map(len, parts)) >= axis.edges[band + 1]:
                joined = np.concatenate(parts)
                low, high = axis.edges[band] - start_row, axis.edges[band + 1] - start_row
                yield band, joined[low:high].copy()
                parts, start_row, band = [joined[high:].copy()], start_row + high, band + 1
            if band > last:
                return


def _ahead(
    read: Callable[[int, int], np.ndarray], height: int, reader: ThreadPoolExecutor
) -> Callable[[int, int], np.ndarray]:
    """`read` that also reads the next rows in the background while the caller processes the current ones."""
    waiting: dict[tuple[int, int], Future[np.ndarray]] = {}

    def take(low: int, high: int) -> np.ndarray:
        future = waiting.pop((low, high), None)
        result = read(low, high) if future is None else future.result()
        after = (high, min(2 * high - low, height))
        if high < height:
            waiting[after] = reader.submit(read, *after)
        return result

    return take
