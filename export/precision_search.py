"""Which layers must stay in float32: found by measuring, not by guessing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from unet_data.predict import labels
from unet_spec import InputError

from .lowering import Lowered
from .parity import Distance
from .precision import Recipe, kept_for_builder, units
from .simulation import simulate

_EXHAUSTIVE = 24  # sets of one size that are tried one by one


@dataclass(frozen=True)
class Judgement:
    """Logits against those of the float64 reference, over several inputs.

    Attributes:
        distance: worst and RMS error of the logits.
        label_agreement: share of pixels with the same label, in 0..1; 0 where a logit is not finite.
    """

    distance: Distance
    label_agreement: float


def judge(logits: Sequence[np.ndarray], references: Sequence[np.ndarray]) -> Judgement:
    """Of arrays (1, *spatial, K), one a pair."""
    given, wanted = (np.concatenate([a.reshape(-1, a.shape[-1]) for a in arrays]) for arrays in (logits, references))
    if not np.isfinite(given).all():
        return Judgement(Distance.between(given, wanted), 0.0)
    return Judgement(Distance.between(given, wanted), float(np.mean(labels(given) == labels(wanted))))


class Search:
    """Judges recipes on one set of inputs, and remembers."""

    def __init__(
        self, network: Lowered, recipe: Recipe, inputs: Sequence[np.ndarray], references: Sequence[np.ndarray]
    ):
        self.network, self.recipe = network, recipe
        self.inputs, self.references = inputs, references
        forced = kept_for_builder(network.graph, recipe.precision)
        self.candidates = tuple(name for name in units(network.graph) if name not in forced)
        self._known: dict[frozenset[str], Judgement] = {}

    def judge(self, kept: frozenset[str]) -> Judgement:
        """With the units `kept` in float32."""
        if kept not in self._known:
            recipe = replace(self.recipe, kept=tuple(name for name in self.candidates if name in kept))
            logits = [simulate(self.network, recipe, image) for image in self.inputs]
            self._known[kept] = judge(logits, self.references)
        return self._known[kept]

    @property
    def trials(self) -> int:
        """Recipes judged so far."""
        return len(self._known)


def smallest_kept(search: Search, bound: float) -> tuple[str, ...]:
    """A smallest set of units which, kept in float32, make at least the share `bound` of the labels agree. In the order
    of the network.

    First no unit, then each by itself, then each pair as long as there are few, are tried: up to there the set is the
    smallest. Beyond, units are added in the order of the harm that each does alone, and then all that can be spared
    are taken out again, so that no member of the result can be left out.

    Raises InputError where only the whole network in float32 is good enough.
    """
    precision = search.recipe.precision

    def good(kept: frozenset[str]) -> bool:
        return search.judge(kept).label_agreement >= bound

    names = search.candidates
    for size in range(2):
        if len(names) > size and (found := [k for k in itertools.combinations(names, size) if good(frozenset(k))]):
            return max(found, key=lambda k: search.judge(frozenset(k)).label_agreement)
    if len(names) > 2 and math.comb(len(names), 2) <= _EXHAUSTIVE:
        pairs = [k for k in itertools.combinations(names, 2) if good(frozenset(k))]
        if pairs:
            return max(pairs, key=lambda k: search.judge(frozenset(k)).label_agreement)
    harm = {name: _alone(search, name) for name in names}
    order = sorted(names, key=lambda name: harm[name], reverse=True)
    kept: set[str] = set()
    for name in order:
        kept.add(name)
        if good(frozenset(kept)):
            break
    for name in reversed(order):
        if name in kept and good(frozenset(kept - {name})):
            kept.remove(name)
    if len(kept) == len(names):
        nothing = search.judge(frozenset())
        raise InputError(
            f"{precision} changes {1 - nothing.label_agreement:.2%} of the labels, and no layer can be spared from"
            f" float32 (allowed: {1 - bound:.2%}); export this network in another precision"
        )
    return tuple(name for name in names if name in kept)


def _alone(search: Search, name: str) -> float:
    """Mean square error of the logits with this one unit in the narrow format; infinite where it overflows."""
    return search.judge(frozenset(search.candidates) - {name}).distance.rms
