"""The precisions of one bundle: for each a recipe that is good enough on the user's images, and how good it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_spec import Checkpoint, InputError

from . import parity
from .calibrate import activation_ranges, windows
from .precision import AGREEMENT, QUANTIZED, Precision, Recipe, kept_for_builder, lower_for
from .precision_search import Judgement, Search, judge, smallest_kept
from .simulation import simulate

_ALLOWANCE = (0.9, 0.7, 0.5)
"""The share of the allowed disagreement that the searched images may use; the next, where others then have more."""


@dataclass(frozen=True)
class Variant:
    """One precision of a bundle.

    Attributes:
        recipe: what its file computes in which dtype.
        file: its ONNX file's name; tf32 is a setting of the engine and shares that of fp32.
        kept_for_builder: units in float32 because no builder takes them in this precision.
        judgement: of the simulation, on `judged_on` inputs; None for fp32, which runtimes compute exactly enough.
        searched_on: inputs that ranges and kept units were chosen by; none of the others, where there are enough.
        trials: recipes that the search judged.
    """

    recipe: Recipe
    file: str
    kept_for_builder: tuple[str, ...] = ()
    judgement: Judgement | None = None
    judged_on: int = 0
    searched_on: int = 0
    trials: int = 0

    @property
    def precision(self) -> str:
        return self.recipe.precision

    def to_dict(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {
            "precision": self.precision,
            "file": self.file,
            "kept_float32": list(self.recipe.kept),
            "kept_for_builder": list(self.kept_for_builder),
            "least_label_agreement": AGREEMENT[self.precision],
        }

    def parity(self) -> dict[str, Any] | None:
        """As parity.json has it; None where nothing was simulated."""
        if self.judgement is None:
            return None
        return {
            "runtime": "simulation",
            "precision": self.precision,
            "file": self.file,
            **self.judgement.distance.to_dict(),
            "label_agreement": self.judgement.label_agreement,
            "least_label_agreement": AGREEMENT[self.precision],
            "inputs": self.judged_on,
            "searched_on": self.searched_on,
            "trials": self.trials,
        }


def onnx_name(precision: str) -> str:
    """model.onnx is float32, and tf32 with another setting of the engine."""
    return "model.onnx" if precision in ("fp32", "tf32") else f"model-{precision}.onnx"


def choose_variants(
    checkpoint: Checkpoint,
    precisions: Sequence[Precision],
    calibration: Sequence[np.ndarray] | None,
    golden: tuple[np.ndarray, np.ndarray],
    tell: Callable[[str], None] = lambda line: None,
) -> tuple[Variant, ...]:
    """One variant per precision, in the order given; fp32 is added at the end where it was not asked for.

    calibration: images (*spatial, C); every second one is searched and calibrated on, the others judge, and the golden
    input and reference (1, *size, C), (1, *out, K) as well. None: the golden ones serve for all.

    Raises InputError: an unknown or repeated precision, int8 or fp8 without images, and a precision whose labels do
    not agree with the reference's.
    """
    wanted = list(dict.fromkeys(precisions))
    if len(wanted) != len(precisions):
        raise InputError(f"a precision is given twice: {' '.join(precisions)}")
    for precision in wanted:
        Recipe(precision)  # raises for an unknown one
        if precision in QUANTIZED and calibration is None:
            raise InputError(
                f"{precision} must be calibrated on images of the kind that will be segmented; --calibrate DATA"
            )
    narrow: list[Precision] = [p for p in wanted if p != "fp32"]
    found: dict[str, Variant] = {"fp32": Variant(Recipe(), onnx_name("fp32"))}
    if narrow:
        inputs, references = [golden[0]], [golden[1]]
        if calibration is not None:
            inputs = windows(calibration, checkpoint.config, checkpoint.data)
            references = [parity.reference_logits(checkpoint, image) for image in inputs]
        for precision in narrow:
            found[precision] = _choose(checkpoint, precision, inputs, references, golden)
            tell(f"{precision}: {_told(found[precision])}")
    return tuple(found[p] for p in dict.fromkeys([*wanted, "fp32"]))


def _choose(
    checkpoint: Checkpoint,
    precision: Precision,
    inputs: Sequence[np.ndarray],
    references: Sequence[np.ndarray],
    golden: tuple[np.ndarray, np.ndarray],
) -> Variant:
    held_out = slice(1, None, 2) if len(inputs) > 1 else slice(None)
    graph = checkpoint.config.graph
    network = lower_for(precision, graph, checkpoint.tensors)
    ranges = activation_ranges(network, inputs[::2], precision) if precision in QUANTIZED else {}
    search = Search(network, Recipe(precision, ranges=ranges), inputs[::2], references[::2])
    recipe = search.recipe
    for share in _ALLOWANCE:
        if precision != "tf32":  # one setting for the whole engine: there is nothing to search
            kept = smallest_kept(search, 1 - share * (1 - AGREEMENT[precision]))
            recipe = Recipe(precision, kept, {name: r for name, r in ranges.items() if name not in kept})
        found = judge([simulate(network, recipe, image) for image in inputs[held_out]], references[held_out])
        on_golden = judge([simulate(network, recipe, golden[0])], [golden[1]])
        if min(found.label_agreement, on_golden.label_agreement) >= AGREEMENT[precision]:
            break
    else:
        worse = min(found.label_agreement, on_golden.label_agreement)
        raise InputError(
            f"{precision} changes {1 - worse:.2%} of the labels on images that it was not calibrated"
            f" on; allowed is {1 - AGREEMENT[precision]:.2%}; give more images to --calibrate, or another precision"
        )
    return Variant(
        recipe,
        onnx_name(precision),
        kept_for_builder(network.graph, precision),
        found,
        judged_on=len(inputs[held_out]),
        searched_on=len(inputs[::2]),
        trials=search.trials,
    )


def _told(variant: Variant) -> str:
    assert variant.judgement is not None
    kept = ", ".join((*variant.recipe.kept, *variant.kept_for_builder)) or "no layer"
    return f"{variant.judgement.label_agreement:.4%} of labels agree; {kept} kept in float32"
