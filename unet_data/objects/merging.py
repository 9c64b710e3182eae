"""Merges basins to objects: two parts are merged unless the neck between them is narrow.

In descending order of saddles, two parts are merged if saddle ≥ ratio · the lower of their peaks. `merged` gives the
same parts without a global order, so that basins whose neighbours are all known can be merged early; see README.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Int, Int64


@dataclass(frozen=True)
class Edges:
    """Edges between parts that touch.

    Attributes:
        a, b: numbers of the two parts.
        saddle: the maximum height at which a path can cross from one to the other.
        pair: number of the pixel pair at the saddle, the lowest of several; it orders equal saddles.
    """

    a: Int[np.ndarray, " n"]
    b: Int[np.ndarray, " n"]
    saddle: Int64[np.ndarray, " n"]
    pair: Int64[np.ndarray, " n"]

    @classmethod
    def joined(cls, parts: Sequence[Edges]) -> Edges:
        if not parts:
            return cls(*(np.zeros(0, np.int64) for _ in range(4)))
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("a", "b", "saddle", "pair")))

    def numbered(self, numbers: Int[np.ndarray, " parts"]) -> Edges:
        """The edges after part i is renumbered to numbers[i]."""
        return Edges(numbers[self.a], numbers[self.b], self.saddle, self.pair)


def canonical(edges: Edges) -> Edges:
    """The best edge between any two parts, in descending order of saddles; equal saddles are ordered by pair."""
    different = edges.a != edges.b
    a, b = np.minimum(edges.a, edges.b)[different].astype(np.int64), np.maximum(edges.a, edges.b)[different]
    saddle, pair = edges.saddle[different], edges.pair[different]
    order = np.lexsort((pair, -saddle))
    a, b, saddle, pair = (values[order] for values in (a, b, saddle, pair))
    _, first = np.unique(a * (int(b.max(initial=0)) + 1) + b, return_index=True)
    first.sort()
    return Edges(a[first], b[first], saddle[first], pair[first])


def merged(
    peaks: Int64[np.ndarray, " parts"], edges: Edges, ratio: float, frozen: Bool[np.ndarray, " parts"] | None = None
) -> Int64[np.ndarray, " parts"]:
    """The object of each part, numbered from 0 in the order of their first parts.

    Args:
        peaks: the maximum height in each part.
        edges: edges in any order; only those with a positive saddle can merge parts.
        ratio: minimum ratio of the saddle to the lower peak, in 0..1.
        frozen: parts with unknown edges. They are merged only if the other part meets the condition.
    """
    count = len(peaks)
    numbers, peaks = np.arange(count), peaks.copy()
    frozen = np.zeros(count, bool) if frozen is None else frozen.copy()
    edges = canonical(edges)
    keep = edges.saddle > 0
    edges = Edges(edges.a[keep], edges.b[keep], edges.saddle[keep], edges.pair[keep])
    while len(edges.a):
        # The best edge of a part is the first in which it occurs.
        ends = np.stack([edges.a, edges.b], 1).ravel()
        parts, first = np.unique(ends, return_index=True)
        best = first // 2
        asks = (edges.saddle[best] >= ratio * peaks[parts]) & ~frozen[parts]
        if not asks.any():
            break
        chosen = np.unique(best[asks])
        joined = components(len(peaks), edges.a[chosen], edges.b[chosen])
        numbers = joined[numbers]
        after = int(joined.max()) + 1
        peaks, frozen = greatest(peaks, joined, after), greatest(frozen, joined, after)
        edges = canonical(edges.numbered(joined))
    return numbers


def components(count: int, a: Int[np.ndarray, " n"], b: Int[np.ndarray, " n"]) -> Int64[np.ndarray, " count"]:
    """The number of each node's connected component, from 0 in the order of their first nodes."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(count, count))
    found = connected_components(graph, directed=False)[1]
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def greatest(values: np.ndarray, numbers: np.ndarray, count: int) -> np.ndarray:
    """The maximum of the values with each number."""
    low = np.iinfo(values.dtype).min if values.dtype.kind == "i" else False
    result = np.full(count, low, values.dtype)
    np.maximum.at(result, numbers, values)
    return result
