"""Warping error: the disagreement that remains if borders may move but not break (Jain et al. 2010, CVPR)."""

from __future__ import annotations

from collections import deque
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from unet_spec.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Bool

_RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))  # clockwise; odd indices share an edge


@cache
def _simple_table() -> np.ndarray:
    """(256,) bool, indexed by the bits of the ring: whether flipping the centre preserves the topology of the square.

    True regions are 4-connected, False ones 8-connected. The centre is simple if its crossing number for
    4-connectivity, the sum of x_k − x_k x_(k+1) x_(k+2) over the four edge neighbours, is 1 (Yokoi et al. 1975).
    """
    table = np.zeros(256, bool)
    for bits in range(256):
        ring = [bool(bits >> k & 1) for k in range(8)]
        crossings = sum(ring[k] and not (ring[(k + 1) % 8] and ring[(k + 2) % 8]) for k in (1, 3, 5, 7))
        table[bits] = crossings == 1
    return table


def warp(truth: Bool[np.ndarray, "*truth"], proposal: Bool[np.ndarray, "*proposal"], reach: int = 5) -> np.ndarray:
    """The truth, moved towards the proposal by flipping only simple points.

    Only pixels in which both differ are flipped, greedily and in a fixed order, so the result is not necessarily the
    best warping. Pixels beyond the image count as False.

    Args:
        truth, proposal: (H, W).
        reach: maximum distance in pixels of a changed pixel from a border of the truth.

    Returns:
        (H, W) bool.

    Raises:
        InputError: the masks have other shapes.
    """
    from scipy import ndimage

    if truth.shape != proposal.shape or truth.ndim != 2:
        raise InputError(f"a warping needs two equal (H, W) masks, not {truth.shape} and {proposal.shape}")
    inside = np.asarray(truth, bool)
    goal = np.asarray(proposal, bool)
    if inside.all() or not inside.any():
        return inside  # no border that could move
    inner, outer = (np.asarray(ndimage.distance_transform_edt(mask)) for mask in (inside, ~inside))
    allowed = inner + outer <= reach
    height, width = inside.shape
    now = np.zeros((height + 2, width + 2), bool)
    now[1:-1, 1:-1] = inside
    open_ = np.zeros_like(now)
    open_[1:-1, 1:-1] = (inside != goal) & allowed
    simple = _simple_table()
    queue = deque(map(tuple, np.argwhere(open_)))
    while queue:
        y, x = queue.popleft()
        if not open_[y, x]:
            continue
        bits = sum(1 << k for k, (dy, dx) in enumerate(_RING) if now[y + dy, x + dx])
        if not simple[bits]:
            continue
        now[y, x] = not now[y, x]
        open_[y, x] = False
        queue.extend((y + dy, x + dx) for dy, dx in _RING if open_[y + dy, x + dx])
    return now[1:-1, 1:-1]


def warping_error(
    truth: Bool[np.ndarray, "h w"],
    proposal: Bool[np.ndarray, "h w"],
    reach: int = 5,
    counted: Bool[np.ndarray, "h w"] | None = None,
) -> float:
    """The share of pixels in which the proposal differs from the warped truth.

    It counts splits, mergers, missed and false objects, but not slightly displaced borders (Jain et al. 2010, CVPR).

    Args:
        truth, proposal: objects are True.
        reach: as in `warp`.
        counted: pixels that count; both masks are treated as False elsewhere. None: all.

    Returns:
        A share in 0..1; NaN if no pixel counts.

    Raises:
        InputError: shapes differ, or the masks are volumes.

    Example:
        >>> from unet_data import warping_error
        >>> truth = np.zeros((9, 9), bool)
        >>> truth[3:6, 3:6] = True
        >>> warping_error(truth, np.roll(truth, 1, axis=0)), warping_error(truth, np.zeros((9, 9), bool)) > 0
        (0.0, True)
    """
    if counted is None:
        return float((warp(truth, proposal, reach) != np.asarray(proposal, bool)).mean())
    truth, proposal = (np.asarray(mask, bool) & counted for mask in (truth, proposal))
    wrong, total = (warp(truth, proposal, reach) != proposal).sum(), counted.sum()
    return float(wrong / total) if total else float("nan")
