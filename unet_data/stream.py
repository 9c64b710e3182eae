"""An image larger than memory through a network: windows are read, tiles computed and results written at one time.

Three threads work on three batches of tiles: the next is being read, one computed, the last one written. Nothing else
is in memory, whatever the size of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from unet_data.predict import Output
from unet_data.prepare import prepare
from unet_data.stitch import Run, Windowed, compute_tiles
from unet_data.stream_store import TileStore
from unet_spec import DataSpec, InputError, NetworkConfig

Written = Callable[[int, int], None]
"""Told of every tile that is on the disk: its number, and its pixels."""


def segment(
    run: Run,
    pictures: Sequence[Windowed],
    store: TileStore,
    config: NetworkConfig,
    data: DataSpec,
    output: Output,
    numbers: Iterable[int] | None = None,
    batch: int = 1,
    written: Written = lambda number, pixels: None,
) -> None:
    """Computes the tiles `numbers` (None: all) of a store that are not there yet, and puts them there.

    pictures: (*spatial, C) each, all of the size that the store's plan is for. run: as `unet_data.stitch.Run`.

    Raises InputError where a window cannot be read or holds what the network cannot take, or the disk is full; the
    tiles finished until then stay.
    """
    done, each = store.done(), len(store.plan)
    wanted = sorted(set(range(len(store)) if numbers is None else numbers) - done)
    with ThreadPoolExecutor(1, "write") as writer:
        pending: Future[None] | None = None

        def put(number: int, logits: np.ndarray) -> None:
            store.put(number, output.of(logits))
            written(number, logits[..., 0].size)

        for index, picture in enumerate(pictures):
            own = [n - index * each for n in wanted if n // each == index]
            tiles = compute_tiles(
                run, picture, store.plan, config.out_channels, own, lambda w: prepare(w, config, data), batch
            )
            for _, number, logits in tiles:
                if pending is not None:
                    pending.result()
                pending = writer.submit(put, index * each + number, logits)
        if pending is not None:
            pending.result()


def shard(count: int, part: int, parts: int) -> range:
    """The numbers of the tiles that part `part` of `parts` (from 1) computes: a stretch of all `count` tiles.

    The stretches of all parts meet exactly. Raises InputError where there is no such part.
    """
    if parts < 1 or not 1 <= part <= parts:
        raise InputError(f"shard {part}/{parts} does not exist; give i/n with i from 1 to n")
    return range(count * (part - 1) // parts, count * part // parts)
