"""As `stream`, strip by strip: for runtimes that keep the few rows of each layer which the next strip needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from unet_data.predict import Output
from unet_data.prepare import prepare
from unet_data.stitch import Windowed
from unet_data.stream import Written
from unet_data.stream_store import TileStore
from unet_data.tiles import mirror_window
from unet_spec import DataSpec, NetworkConfig
from unet_spec.strips import first_row
from unet_spec.tiling import TilePlan

Stream = Callable[[Callable[[int, int], np.ndarray], int, int], Iterator[tuple[int, np.ndarray]]]
"""`StripRuntime.stream` of a twin: (read, height, rows) to the first row and the logits of each strip."""


def segment_by_strips(
    stream: Stream,
    pictures: Sequence[Windowed],
    store: TileStore,
    config: NetworkConfig,
    data: DataSpec,
    output: Output,
    rows: int,
    numbers: Iterable[int] | None = None,
    written: Written = lambda number, pixels: None,
) -> None:
    """As `segment`, strip by strip: nothing is computed twice, and memory grows with the image's width only.

    store: of a plan by `unet_spec.strips.plan_bands`. rows: of the canvas that enter at a time, a multiple of the
    network's total stride. Where bands are there already, strips begin above the first one that is missing, by as much
    as its rows depend on.
    """
    done, each = store.done(), len(store.plan)
    wanted = set(range(len(store)) if numbers is None else numbers) - done
    with ThreadPoolExecutor(1, "write") as writer:
        pending: Future[None] | None = None

        def put(number: int, logits: np.ndarray) -> None:
            store.put(number, output.of(logits))
            written(number, logits[..., 0].size)

        for index, picture in enumerate(pictures):
            own = sorted(n - index * each for n in wanted if n // each == index)
            for first, last in _stretches(own):
                for band, logits in _bands(stream, picture, store.plan, config, data, rows, first, last):
                    if pending is not None:
                        pending.result()
                    pending = writer.submit(put, index * each + band, logits)
        if pending is not None:
            pending.result()


def _stretches(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Neighbouring numbers, as (first, last)."""
    start = 0
    for i, number in enumerate(numbers):
        if i + 1 == len(numbers) or numbers[i + 1] != number + 1:
            yield numbers[start], number
            start = i + 1


def _bands(
    stream: Stream,
    picture: Windowed,
    plan: TilePlan,
    config: NetworkConfig,
    data: DataSpec,
    rows: int,
    first: int,
    last: int,
) -> Iterator[tuple[int, np.ndarray]]:
    """The bands `first` to `last` of one picture: number, logits (rows, *others, K)."""
    axis, *others = plan.axes
    top = first_row(config.geometry, axis.edges[first])
    height = axis.canvas - top

    def read(low: int, high: int) -> np.ndarray:
        start = (top + low - axis.margin, *(-a.margin for a in others))
        window = mirror_window(picture, start, (high - low, *(a.canvas for a in others)))  # type: ignore[arg-type]
        return prepare(np.ascontiguousarray(window)[None], config, data)[0]

    inside = tuple(slice(0, a.image) for a in others)
    parts: list[np.ndarray] = []
    band, held = first, top  # `held`: the row of the image at which `parts` begin
    with ThreadPoolExecutor(1, "read") as reader:
        for _, logits in stream(_ahead(read, height, reader), height, rows):
            parts.append(logits[(slice(None), *inside)])
            while band <= last and held + sum(map(len, parts)) >= axis.edges[band + 1]:
                joined = np.concatenate(parts)
                low, high = axis.edges[band] - held, axis.edges[band + 1] - held
                yield band, joined[low:high].copy()
                parts, held, band = [joined[high:].copy()], held + high, band + 1
            if band > last:
                return


def _ahead(
    read: Callable[[int, int], np.ndarray], height: int, reader: ThreadPoolExecutor
) -> Callable[[int, int], np.ndarray]:
    """The same, which reads the stretch that comes next while the caller works on this one."""
    waiting: dict[tuple[int, int], Future[np.ndarray]] = {}

    def take(low: int, high: int) -> np.ndarray:
        future = waiting.pop((low, high), None)
        result = read(low, high) if future is None else future.result()
        after = (high, min(2 * high - low, height))
        if high < height:
            waiting[after] = reader.submit(read, *after)
        return result

    return take
