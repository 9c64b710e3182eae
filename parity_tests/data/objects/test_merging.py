"""Merging at necks by hand; that its order does not matter is in test_parts.py."""

import numpy as np

from unet_data.objects.merging import Edges, canonical, components, merged


def edges(*rows):
    return Edges(*(np.array(column, np.int64) for column in zip(*rows, strict=True)))


def test_a_neck_is_compared_with_the_lower_peak():
    peaks = np.array([10, 6])
    assert merged(peaks, edges((0, 1, 3, 0)), 0.5).tolist() == [0, 0]
    assert merged(peaks, edges((0, 1, 3, 0)), 0.51).tolist() == [0, 1]


def test_a_small_peak_in_the_neck_does_not_bridge_two_parts():
    """1 joins 0 by the higher saddle; with it, the neck to 2 is compared with the peaks of 0 and 2."""
    peaks = np.array([10, 4, 9])
    assert merged(peaks, edges((0, 1, 4, 5), (1, 2, 3, 1)), 0.7).tolist() == [0, 0, 1]


def test_of_equal_saddles_the_first_pair_counts():
    peaks = np.array([10, 4, 9])
    assert merged(peaks, edges((0, 1, 3, 7), (1, 2, 3, 8)), 0.7).tolist() == [0, 0, 1]
    assert merged(peaks, edges((0, 1, 3, 9), (1, 2, 3, 8)), 0.7).tolist() == [0, 1, 1]


def test_a_frozen_part_does_not_ask_but_is_asked():
    peaks, frozen = np.array([10, 6, 8]), np.array([False, True, False])
    assert merged(peaks, edges((0, 1, 6, 0)), 0.9, frozen).tolist() == [0, 1, 2]
    assert merged(peaks, edges((1, 2, 8, 0)), 0.9, frozen).tolist() == [0, 1, 1]


def test_a_saddle_that_is_not_above_zero_never_joins():
    assert merged(np.array([1, 1]), edges((0, 1, -1, 0)), 0.0).tolist() == [0, 1]
    assert merged(np.array([1, 1]), edges((0, 1, 1, 0)), 0.0).tolist() == [0, 0]


def test_the_best_edge_of_two_parts_is_kept():
    kept = canonical(edges((2, 1, 5, 9), (1, 2, 5, 4), (1, 1, 9, 0), (0, 2, 7, 3)))
    assert [kept.a.tolist(), kept.b.tolist(), kept.saddle.tolist(), kept.pair.tolist()] == [
        [0, 1],
        [2, 2],
        [7, 5],
        [3, 4],
    ]


def test_components_are_numbered_in_the_order_of_their_first_nodes():
    assert components(5, np.array([4, 1]), np.array([0, 2])).tolist() == [0, 1, 1, 2, 0]
    assert components(0, np.zeros(0, int), np.zeros(0, int)).tolist() == []
