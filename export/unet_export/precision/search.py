"""Which layers must stay in float32: found by measuring, not by guessing."""

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
    """Compares recipes with the reference on one set of inputs, and remembers the results."""

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
            inputs, references: inputs (1, *size, C) and their reference logits, by which recipes are compared.
            classes: as of `compare`.
            probe: input on which the layers are ranked; a small one is enough. None: the first of `inputs`.
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
        """With the convolutions `kept` and their epilogues in float32."""
        key = frozenset(kept)
        if key not in self._known:
            self._known[key] = compare([self._run(key, x) for x in self.inputs], self.references, self.classes)
        return self._known[key]

    def reaches(self, kept: Iterable[str], bound: float) -> bool:
        """Whether at least the share `bound` of the labels agrees. Ends with the input that decides against it."""
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
        """Root mean square change of the probe's logits when this convolution alone is computed in the precision of
        the recipe; infinite where it overflows."""
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
    """A small set of convolutions that, kept in float32, lets at least the share `bound` of the labels agree.

    If the set must not be empty, the convolutions are ranked by the harm that each does alone. The most harmful ones
    are kept: 1, 2, 4, … until they suffice, then fewer by bisection. Finally each one is left out again where the
    others suffice, so that no member of the result can be left out.

    Returns:
        Their names in the order of the network.

    Raises:
        InputError: If only the whole network in float32 reaches `bound`.
    """
    names = search.candidates
    if search.reaches((), bound):
        return ()
    order = sorted(names, key=search.harm, reverse=True)
    low, high = 0, 1  # the `low` most harmful do not suffice
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
