"""Searches by measurement for the layers that must stay in float32."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from unet_spec import InputError

from ..onnx.lowering import Lowered
from ..reference import Comparison, Distance, compare
from .formats import PrecisionRecipe, convolutions, kept_for_builder
from .simulation import simulate


class Search:
    """Compares recipes with the reference on one set of inputs, and caches the results."""

    def __init__(
        self,
        network: Lowered,
        recipe: PrecisionRecipe,
        inputs: Sequence[np.ndarray],
        references: Sequence[np.ndarray],
        classes: int | None = None,
        probe: np.ndarray | None = None,
    ):
        """
        Args:
            network, recipe: the network, and the precision with its ranges.
            inputs, references: inputs (1, *size, C) and their reference logits, for the comparison of recipes.
            classes: as in `compare`.
            probe: input for ranking the layers, which may be small. None: the first of `inputs`.
        """
        self.network, self.recipe = network, recipe
        self.inputs, self.references, self.classes = inputs, references, classes
        self.probe = inputs[0] if probe is None else probe
        forced = kept_for_builder(network.graph, recipe.precision)
        self.candidates = tuple(name for name in convolutions(network.graph) if name not in forced)
        self._known: dict[frozenset[str], Comparison] = {}
        self._at_most: dict[frozenset[str], float] = {}
        self._harm: dict[str, float] = {}

    def compare(self, kept: Iterable[str]) -> Comparison:
        """Compares with the convolutions `kept` and their epilogues in float32."""
        key = frozenset(kept)
        if key not in self._known:
            self._known[key] = compare([self._run(key, x) for x in self.inputs], self.references, self.classes)
        return self._known[key]

    def reaches(self, kept: Iterable[str], bound: float) -> bool:
        """Whether at least the share `bound` of the labels agree. Stops at the first input after which they cannot."""
        key = frozenset(kept)
        if key in self._known:
            return self._known[key].label_agreement >= bound
        if self._at_most.get(key, 1.0) < bound:
            return False
        total, wrong, logits = sum(r[..., 0].size for r in self.references), 0.0, []
        for image, reference in zip(self.inputs, self.references, strict=True):
            logits.append(self._run(key, image))
            agreement = compare(logits[-1:], [reference], self.classes).label_agreement
            wrong += total if not np.isfinite(logits[-1]).all() else (1 - agreement) * reference[..., 0].size
            if round(wrong) > (1 - bound) * total:
                self._at_most[key] = max(0.0, 1 - round(wrong) / total)
                return False
        self._known[key] = compare(logits, self.references, self.classes)
        return self._known[key].label_agreement >= bound

    def harm(self, name: str) -> float:
        """Root mean square change of the probe's logits if only this convolution is computed in the recipe's precision;
        infinite if it overflows."""
        if not self._harm:
            exact = self._run(frozenset(self.candidates), self.probe)
            for each in self.candidates:
                narrow = self._run(frozenset(self.candidates) - {each}, self.probe)
                self._harm[each] = Distance.between(narrow, exact).rms
        return self._harm[name]

    @property
    def trials(self) -> int:
        """Number of recipes compared so far."""
        return len(self._known.keys() | self._at_most.keys())

    def _run(self, kept: frozenset[str], image: np.ndarray) -> np.ndarray:
        recipe = replace(self.recipe, kept=tuple(name for name in self.candidates if name in kept))
        return simulate(self.network, recipe, image)


def smallest_kept(search: Search, bound: float) -> tuple[str, ...]:
    """A small set of convolutions to keep in float32, so that at least the share `bound` of the labels agree.

    If the empty set does not suffice, the convolutions are ranked by the error that each causes alone. The first 1, 2,
    4, … are kept until they suffice, then fewer by bisection. Finally, each member is removed if the others suffice, so
    that no member of the result can be left out.

    Returns:
        Names in the order of the network.

    Raises:
        InputError: If `bound` needs the whole network in float32.
    """
    names = search.candidates
    if search.reaches((), bound):
        return ()
    order = sorted(names, key=search.harm, reverse=True)
    low, high = 0, 1  # the first `low` do not suffice
    while high < len(order) and not search.reaches(order[:high], bound):
        low, high = high, min(2 * high, len(order))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if search.reaches(order[:middle], bound) else (middle, high)
    kept = set(order[:high])
    for name in reversed(order[:high]):
        if len(kept) > 1 and search.reaches(kept - {name}, bound):
            kept.remove(name)
    if len(kept) == len(names):
        raise InputError(
            f"{search.recipe.precision} changes {1 - search.compare(()).label_agreement:.2%} of the labels even with "
            f"the best choice of float32 layers (allowed: {1 - bound:.2%}); export this network in another precision"
        )
    return tuple(name for name in names if name in kept)
