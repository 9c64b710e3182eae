"""Chooses how the images of a file are computed: in tiles or row by row, within the memory limit of the process."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from unet_spec import Geometry, InputError
from unet_spec.files import format_bytes
from unet_spec.tiling.planner import Limits, Plan, advised_tile, plan_image
from unet_spec.tiling.strips import check_strips, plan_bands, strip_memory
from unet_spec.tiling.tiles import plan_tiles

from ..memory import available, resident
from .network import OpenNetwork
from .settings import PredictSettings
from .store import begin

DEFAULT_BUDGET = 2 * 2**30
"""Default memory limit of tiles in bytes; half of the available memory if that is less."""
STRIP_ROWS, BAND_ROWS = (512, 256, 128, 64, 32, 16), 256
"""Heights of strips, of which the largest that fits is used; and the height of the bands in which their result is
stored. The latter does not depend on the memory, so that an interrupted run can continue with another strip height."""


@dataclass(frozen=True)
class ImagePlan:
    """How each image of a file is computed.

    Attributes:
        work: the tiles (or bands, for strips) and their cost.
        rows: for strips, the number of canvas rows that enter at a time; 0 for tiles.
    """

    work: Plan
    rows: int = 0


def plan_file(
    network: OpenNetwork, image: tuple[int, ...], settings: PredictSettings, folder: Path, request: dict[str, Any]
) -> ImagePlan:
    """Plans a new run in `folder`, or continues the run in it, with the same tiles whatever the memory limit.

    Args:
        network: the network to run.
        image: pixels per axis.
        settings: settings of the prediction.
        folder: folder of the tiles, see `TileStore`.
        request: everything that the result depends on.

    Raises:
        InputError: no tile fits into the memory, or the folder holds another run.
    """
    if settings.strips:
        plan = _by_strips(network, image, settings.memory)
        begin(folder, request, {})
        return plan
    tile = settings.tile_shape(len(image))
    work = plan_tiled(network, image, Limits(settings.memory, tile=tile, halo=settings.halo))
    record = begin(folder, request, {"tile": work.tiles.tile, "memory": settings.memory})
    if (tile := tuple(record["tile"])) != work.tiles.tile:
        less = settings.memory is not None and settings.memory < (record["memory"] or math.inf)
        try:
            work = plan_tiled(network, image, Limits(settings.memory if less else None, tile=tile, halo=settings.halo))
        except InputError as e:
            raise InputError(
                f"{folder} was started with larger tiles: {e}, or delete the folder to start again"
            ) from None
    return ImagePlan(work)


def plan_tiled(network: OpenNetwork, image: tuple[int, ...], limits: Limits | None = None) -> Plan:
    """The tiles of an image that need the fewest operations within the memory limit.

    Args:
        network: the network to run.
        image: pixels per axis.
        limits: the requested budget, tile and halo; the limits of an engine's profile are added. None: no request.

    Raises:
        InputError: no tile fits into the memory or the engine's profile; or the network needs the whole image at once,
            which does not fit into the available memory, and no tile or budget is requested.
    """
    geometry, limits = network.config.geometry, limits or Limits()
    if limits.budget is not None:
        limits = replace(limits, held=resident())
    elif limits.tile is None and geometry.shift_invariant:
        limits = replace(limits, budget=_default_budget())
    if network.sizes is not None:
        (_, *minimum), (batch, *maximum) = network.sizes
        limits = replace(limits, minimum=tuple(minimum), maximum=tuple(maximum), batch=batch)
    plan = _planned(geometry, image, network.name, limits)
    if limits.budget is None and limits.tile is None and network.sizes is None and plan.memory > (free := available()):
        advice = advised_tile(geometry, image, network.name, replace(limits, budget=free))
        more = math.ceil((plan.memory + resident()) / 2**30)
        raise InputError(
            f"this network needs the whole image at once, which takes {format_bytes(plan.memory)}, but "
            f"{format_bytes(free)} are available{advice}; --memory {more}GiB tries the whole image"
        )
    return plan


def check_whole_image(network: OpenNetwork, image: tuple[int, ...]) -> None:
    """Refuses to measure on an image that a network needs as a whole, and that does not fit into the available memory.

    Args:
        network: the network to run.
        image: pixels per axis, after resampling.

    Raises:
        InputError: so.
    """
    if network.config.geometry.shift_invariant or network.sizes is not None:
        return
    needed = _planned(network.config.geometry, image, network.name, Limits()).memory
    if needed > (free := available()):
        raise InputError(
            f"this network needs the whole image at once, {format_bytes(needed)} for {'x'.join(map(str, image))} "
            f"pixels, but {format_bytes(free)} are available; give smaller images, or use a machine with more memory"
        )


@lru_cache(maxsize=64)
def _planned(geometry: Geometry, image: tuple[int, ...], runtime: str, limits: Limits) -> Plan:
    """`plan_image`, once for many images of one size."""
    return plan_image(geometry, image, runtime, limits)


def _by_strips(network: OpenNetwork, image: tuple[int, ...], memory: int | None) -> ImagePlan:
    """The tallest strips that fit, for the fewest calls. Without a `memory` limit, the lowest ones if none fit."""
    config, geometry = network.config, network.config.geometry
    check_strips(config.graph)
    step = geometry.grid().step
    canvas = plan_tiles(geometry, image).canvas
    held = 0 if memory is None else resident()
    limit = _default_budget() if memory is None else memory - held
    rows, needed = step, 0
    for rows in sorted({max(r // step, 1) * step for r in STRIP_ROWS}, reverse=True):
        height = min(canvas[0], geometry.grid().above(4 * rows + 1024))  # beyond that, all strips need the same memory
        needed = 2 * strip_memory(config.graph, (height, *canvas[1:]), rows)  # a step's operands are copies
        if needed <= limit:
            break
    else:
        if memory is not None:
            raise InputError(
                f"a memory budget of {format_bytes(memory)} is too small for --strips at this image width; "
                f"the minimum is {format_bytes(needed + held)}, of which the process already uses {format_bytes(held)}"
            )
    macs = sum(config.graph.macs(canvas).values())
    return ImagePlan(Plan(plan_bands(geometry, image, BAND_ROWS), 1, macs, macs, needed, 0.0), rows)


def _default_budget() -> int:
    return max(min(DEFAULT_BUDGET, available() // 2), 2**28)
