"""The plan for one image in an open network: by tiles or by strips, within the memory that this process may have."""

from __future__ import annotations

from unet_data.memory import available
from unet_spec import InputError
from unet_spec.planner import Plan, mebibytes, plan_image
from unet_spec.strips import check_strips, plan_bands, strip_memory
from unet_spec.tiling import plan_tiles
from unet_tools.memory import resident
from unet_tools.runtimes import Network

DEFAULT_BUDGET = 2 * 2**30
"""Bytes that tiles may take where nobody asked for a budget; half of what is available, if that is less."""
STRIP_ROWS, BAND_ROWS = (512, 256, 128, 64, 32, 16), 256
"""Heights of strips, of which the tallest that fits is taken; height of the bands in which their result is kept, which
must not depend on the memory at hand, so that an interrupted run can go on with another height."""


def plan_by_tiles(
    network: Network,
    image: tuple[int, ...],
    memory: int | None,
    tile: tuple[int, ...] | None = None,
    halo: int | None = None,
) -> Plan:
    """The plan for an image of `image` pixels per axis.

    memory: bytes that the process may have in memory in total; None takes `DEFAULT_BUDGET` for the tiles, and no limit
    for a tile that was asked for and for a network that cannot be tiled exactly. An engine's profile limits sizes and
    batch. Raises InputError.
    """
    geometry = network.config.geometry
    profile = getattr(getattr(network.runtime, "record", None), "profile", None)
    budget, held = memory, 0 if memory is None else resident()
    if memory is None and tile is None and geometry.shift_invariant:
        budget = _default_budget()
    return plan_image(
        geometry,
        image,
        runtime=network.name,
        budget=budget,
        held=held,
        tile=tile,
        least=profile.min[1:] if profile else None,
        most=profile.max[1:] if profile else None,
        most_batch=profile.max[0] if profile else 1,
        halo=halo,
    )


def plan_by_strips(network: Network, image: tuple[int, ...], memory: int | None) -> tuple[int, Plan]:
    """Rows of a strip, and the plan of the bands that come out. The tallest strips that fit: fewest calls.

    memory: as in `plan_by_tiles`; None takes the least strips where not even they fit. Raises InputError.
    """
    config, geometry = network.config, network.config.geometry
    check_strips(config.graph)
    step = geometry.grid().step
    canvas = plan_tiles(geometry, image).canvas
    held = 0 if memory is None else resident()
    limit = _default_budget() if memory is None else memory - held
    rows, needed = step, 0
    for rows in sorted({max(r // step, 1) * step for r in STRIP_ROWS}, reverse=True):
        height = min(canvas[0], geometry.grid().above(4 * rows + 1024))  # after that, all strips are alike
        needed = 2 * strip_memory(config.graph, (height, *canvas[1:]), rows)  # a step's operands are copies
        if needed <= limit:
            break
    else:
        if memory is not None:
            raise InputError(
                f"a memory budget of {mebibytes(memory)} is too small for strips of this width; the least that works "
                f"is {mebibytes(needed + held)}, of which the process has {mebibytes(held)} already"
            )
    macs = sum(config.graph.macs(canvas).values())
    return rows, Plan(plan_bands(geometry, image, BAND_ROWS), 1, macs, macs, needed, 0.0)


def _default_budget() -> int:
    return max(min(DEFAULT_BUDGET, available() // 2), 2**28)
