"""Which layers must stay in float32: found by measuring, not by guessing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from unet_spec import InputError

from ..onnx.lowering import Lowered
from ..reference import Comparison, compare
from .formats import PrecisionRecipe, convolutions, kept_for_builder
from .simulation import simulate

_EXHAUSTIVE = 24  # sets of one size that are tried one by one


class Search:
    """Compares recipes with the reference on one set of inputs, and remembers the results."""

    def __init__(
        self,
        network: Lowered,
        recipe: PrecisionRecipe,
        inputs: Sequence[np.ndarray],
        references: Sequence[np.ndarray],
        classes: int | None = None,
    ):
        self.network, self.recipe = network, recipe
        self.inputs, self.references, self.classes = inputs, references, classes
        forced = kept_for_builder(network.graph, recipe.precision)
        self.candidates = tuple(name for name in convolutions(network.graph) if name not in forced)
        self._known: dict[frozenset[str], Comparison] = {}

    def compare(self, kept: Iterable[str]) -> Comparison:
        """With the convolutions `kept` and their epilogues in float32."""
        key = frozenset(kept)
        if key not in self._known:
            recipe = replace(self.recipe, kept=tuple(name for name in self.candidates if name in key))
            logits = [simulate(self.network, recipe, image) for image in self.inputs]
            self._known[key] = compare(logits, self.references, self.classes)
        return self._known[key]

    @property
    def trials(self) -> int:
        """Number of recipes compared so far."""
        return len(self._known)


def smallest_kept(search: Search, bound: float) -> tuple[str, ...]:
    """A smallest set of convolutions that, kept in float32, lets at least the share `bound` of the labels agree.

    Tried in this order: none, each alone, each pair where there are few pairs; up to there the set is the smallest.
    Beyond, convolutions are added in the order of the harm that each does alone, and then removed again where the
    others suffice, so that no member of the result can be left out.

    Returns:
        Their names in the order of the network.

    Raises:
        InputError: If only the whole network in float32 reaches `bound`.
    """

    def agreement(kept: Iterable[str]) -> float:
        return search.compare(kept).label_agreement

    names = search.candidates
    for size in range(3):
        few = len(names) > size and (size < 2 or math.comb(len(names), size) <= _EXHAUSTIVE)
        sets = itertools.combinations(names, size) if few else ()
        if good := [kept for kept in sets if agreement(kept) >= bound]:
            return max(good, key=agreement)
    harm = {name: search.compare(set(names) - {name}).distance.rms for name in names}  # infinite where it overflows
    order = sorted(names, key=lambda name: harm[name], reverse=True)
    kept: set[str] = set()
    for name in order:
        kept.add(name)
        if agreement(kept) >= bound:
            break
    for name in reversed(order):
        if name in kept and agreement(kept - {name}) >= bound:
            kept.remove(name)
    if len(kept) == len(names):
        raise InputError(
            f"{search.recipe.precision} changes {1 - agreement(()):.2%} of the labels even with the best choice of "
            f"float32 layers (allowed: {1 - bound:.2%}); export this network in another precision"
        )
    return tuple(name for name in names if name in kept)
