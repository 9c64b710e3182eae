"""The warping error: which borders may move, and how far."""

import numpy as np
import pytest

from unet_data import membranes
from unet_data.labels.regions import regions
from unet_data.metrics.warping import _RING, _simple_table, warp, warping_error


def components(mask, connected8):
    """Number of connected regions of True, by search."""
    steps = [(-1, 0), (1, 0), (0, -1), (0, 1)] + ([(-1, -1), (-1, 1), (1, -1), (1, 1)] if connected8 else [])
    left, count = {tuple(p) for p in np.argwhere(mask)}, 0
    while left:
        count, todo = count + 1, [left.pop()]
        while todo:
            y, x = todo.pop()
            for dy, dx in steps:
                if (y + dy, x + dx) in left:
                    left.remove((y + dy, x + dx))
                    todo.append((y + dy, x + dx))
    return count


def test_simple_points_are_those_that_keep_the_number_of_regions():
    """All 256 surroundings: flipping the centre keeps the regions of the 3x3 square inside a False frame joined at the
    ring's False pixels, True 4-connected and False 8-connected, looked at from the centre's own neighbours."""
    table = _simple_table()
    for bits in range(256):
        ring = np.zeros((3, 3), bool)
        for k, (dy, dx) in enumerate(_RING):
            ring[1 + dy, 1 + dx] = bits >> k & 1
        # True pieces of the ring that touch the centre by an edge, and False pieces that touch it at all
        true_pieces = sum(
            piece[[0, 1, 1, 2], [1, 0, 2, 1]].any() for piece in pieces(ring & ~centre(), connected8=False)
        )
        false_pieces = len(pieces(~ring & ~centre(), connected8=True))
        assert table[bits] == (true_pieces == 1 and false_pieces == 1), f"{bits:08b}"


def centre():
    mask = np.zeros((3, 3), bool)
    mask[1, 1] = True
    return mask


def pieces(mask, connected8):
    from scipy import ndimage

    labels, count = ndimage.label(mask, np.ones((3, 3)) if connected8 else None)
    return [labels == k for k in range(1, count + 1)]


def test_a_shifted_border_costs_nothing_and_a_hole_in_it_its_gap():
    truth = np.ones((20, 30), bool)
    truth[:, 13:16] = False
    shifted = np.ones((20, 30), bool)
    shifted[:, 15:18] = False
    assert (truth != shifted).sum() == 80
    assert warping_error(truth, shifted) == 0
    broken = truth.copy()
    broken[10, 13:16] = True
    assert warping_error(truth, broken) == 1 / truth.size  # two of the three may be eaten away, one holds the border
    assert warping_error(truth, truth) == 0
    assert warping_error(np.zeros((4, 4), bool), np.eye(4, dtype=bool)) == 4 / 16


@pytest.mark.parametrize("seed", range(2))
def test_warping_keeps_every_region(seed):
    data = membranes(2, 64, seed)
    truth, proposal = (label > 0 for label in data.labels)
    moved = warp(truth, proposal)
    framed = [np.pad(~m, 1, constant_values=True) for m in (truth, moved)]
    assert regions(moved).max() == regions(truth).max()
    assert components(framed[0], True) == components(framed[1], True)
    assert (moved != proposal).mean() < (truth != proposal).mean()


def test_a_warping_may_not_go_far():
    truth, far = np.ones((20, 40), bool), np.ones((20, 40), bool)
    truth[:, 5], far[:, 35] = False, False
    assert warping_error(truth, far, reach=3) > 0


def test_a_border_may_move_by_the_reach_and_no_farther():
    truth, moved = np.zeros((9, 20), bool), np.zeros((9, 20), bool)
    truth[:, :5], moved[:, :8] = True, True
    assert [reach for reach in range(6) if warping_error(truth, moved, reach) == 0] == [3, 4, 5]
    assert (warp(truth, moved, 3) == moved).all()
