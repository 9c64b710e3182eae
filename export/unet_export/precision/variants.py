"""The precisions of one bundle: for each, a recipe of sufficient accuracy on the user's images, and its measured
error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_spec import Checkpoint, Geometry, InputError
from unet_spec.tiling.tiles import tile_below

from ..reference import Comparison, compare, reference_logits
from .calibrate import activation_ranges, windows
from .formats import AGREEMENT, QUANTIZED, Precision, PrecisionRecipe, kept_for_builder, lower_for
from .search import Search, smallest_kept
from .simulation import simulate

_ALLOWANCE = (0.9, 0.7, 0.5)
"""Shares of the allowed disagreement that the search may use on its images. The next, smaller share is tried if the
other images disagree too much."""


@dataclass(frozen=True)
class Variant:
    """One precision of a bundle.

    Attributes:
        recipe: Number formats of its file.
        file: Name of its ONNX file. tf32 is a setting of the engine and uses the file of fp32.
        kept_for_builder: Convolutions in float32 because no builder supports them in this precision.
        comparison: Comparison of the simulation with the reference, on `compared_on` inputs; None for fp32, which is
            compared in the runtimes.
        searched_on: Number of inputs for the choice of ranges and kept convolutions; other inputs than in the
            comparison, if there are enough.
        trials: Number of recipes that the search compared.
    """

    recipe: PrecisionRecipe
    file: str
    kept_for_builder: tuple[str, ...] = ()
    comparison: Comparison | None = None
    compared_on: int = 0
    searched_on: int = 0
    trials: int = 0

    @property
    def precision(self) -> str:
        return self.recipe.precision

    def to_dict(self) -> dict[str, Any]:
        """The entry in the manifest."""
        return {
            "precision": self.precision,
            "file": self.file,
            "kept_float32": list(self.recipe.kept),
            "kept_for_builder": list(self.kept_for_builder),
            "least_label_agreement": AGREEMENT[self.precision],
        }

    def parity(self) -> dict[str, Any] | None:
        """The entry in parity.json; None if nothing was simulated."""
        if self.comparison is None:
            return None
        return {
            "runtime": "simulation",
            "precision": self.precision,
            "file": self.file,
            **self.comparison.to_dict(),
            "least_label_agreement": AGREEMENT[self.precision],
            "inputs": self.compared_on,
            "searched_on": self.searched_on,
            "trials": self.trials,
        }


def onnx_name(precision: str) -> str:
    """Name of the ONNX file. tf32 uses the file of fp32, model.onnx."""
    return "model.onnx" if precision in ("fp32", "tf32") else f"model-{precision}.onnx"


def choose_variants(
    checkpoint: Checkpoint,
    precisions: Sequence[Precision],
    calibration: Sequence[np.ndarray] | None,
    golden: tuple[np.ndarray, np.ndarray],
    report: Callable[[str], None] = lambda line: None,
) -> tuple[Variant, ...]:
    """Chooses a recipe for each precision.

    Args:
        checkpoint: The network.
        precisions: Precisions in the order of the result; fp32 is appended if it is missing.
        calibration: Images (*spatial, C). Every second one is used for calibration and search; the others and the
            golden input are used for the comparison. None: the golden input is used for everything.
        golden: Input (1, *size, C) float32 and reference logits (1, *out, K) float64.
        report: Called with a line per narrow precision, and one if a single image was compared.

    Raises:
        InputError: An unknown or repeated precision, int8 or fp8 without images, or a precision whose labels differ too
            much from the reference's.
    """
    if len(set(precisions)) != len(precisions):
        raise InputError(f"a precision is listed twice: {' '.join(precisions)}")
    for precision in precisions:
        PrecisionRecipe(precision)  # raises InputError if unknown
        if precision in QUANTIZED and calibration is None:
            raise InputError(f"{precision} must be calibrated on representative images; --calibrate DATA")
    narrow: list[Precision] = [p for p in precisions if p != "fp32"]
    variants: dict[str, Variant] = {"fp32": Variant(PrecisionRecipe(), onnx_name("fp32"))}
    if narrow:
        inputs, references = [golden[0]], [golden[1]]
        if calibration is not None:
            inputs = windows(calibration, checkpoint.config, checkpoint.data)
            references = [reference_logits(checkpoint, image) for image in inputs]
        for precision in narrow:
            variants[precision] = _choose(checkpoint, precision, inputs, references, golden)
            report(f"{precision}: {_in_words(variants[precision])}")
        if len(inputs) == 1:
            golden_only = "the golden image (synthetic, unless --golden gives one)"
            image = golden_only if calibration is None else "one image"
            others = "several images with --calibrate show what holds for others"
            report(f"{', '.join(narrow)}: compared on {image} alone; {others}")
    return tuple(variants[p] for p in dict.fromkeys([*precisions, "fp32"]))


def _choose(
    checkpoint: Checkpoint,
    precision: Precision,
    inputs: Sequence[np.ndarray],
    references: Sequence[np.ndarray],
    golden: tuple[np.ndarray, np.ndarray],
) -> Variant:
    held_out = slice(1, None, 2) if len(inputs) > 1 else slice(None)
    graph, classes = checkpoint.config.graph, checkpoint.config.out_channels
    network = lower_for(precision, graph, checkpoint.tensors)
    ranges = activation_ranges(network, inputs[::2], precision) if precision in QUANTIZED else {}
    narrow, probe = PrecisionRecipe(precision, ranges=ranges), _probe(inputs[0], checkpoint.config.geometry)
    search = Search(network, narrow, inputs[::2], references[::2], classes, probe)
    recipe = search.recipe
    agreement, on = 0.0, ""
    for share in _ALLOWANCE:
        if precision != "tf32":  # tf32 applies to the whole engine, so there is nothing to search
            kept = smallest_kept(search, 1 - share * (1 - AGREEMENT[precision]))
            recipe = PrecisionRecipe(precision, kept, {name: r for name, r in ranges.items() if name not in kept})
        simulated = [simulate(network, recipe, image) for image in inputs[held_out]]
        compared = compare(simulated, references[held_out], classes)
        on_golden = compare([simulate(network, recipe, golden[0])], [golden[1]], classes)
        agreement = min(compared.label_agreement, on_golden.label_agreement)
        if agreement >= AGREEMENT[precision]:
            break
        on = "images that it was not calibrated on" if len(inputs) > 1 else "the image that it was calibrated on"
        if on_golden.label_agreement < compared.label_agreement or inputs[0] is golden[0]:
            on = "the golden image"
    else:
        raise InputError(
            f"{precision} changes {1 - agreement:.2%} of the labels on {on}; allowed is "
            f"{1 - AGREEMENT[precision]:.2%}; give more images to --calibrate, or use another precision"
        )
    return Variant(
        recipe,
        onnx_name(precision),
        kept_for_builder(network.graph, precision),
        compared,
        compared_on=len(inputs[held_out]),
        searched_on=len(inputs[::2]),
        trials=search.trials,
    )


def _probe(image: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The middle of an input, about half the size along each axis, or the full size if the network needs it."""
    size = image.shape[1:-1]
    half = tuple(map(min, tile_below(geometry, max(size) // 2), size))
    middle = (slice((n - h) // 2, (n - h) // 2 + h) for n, h in zip(size, half, strict=True))
    return np.ascontiguousarray(image[(slice(None), *middle)])


def _in_words(variant: Variant) -> str:
    assert variant.comparison is not None
    kept = ", ".join((*variant.recipe.kept, *variant.kept_for_builder)) or "no layer"
    return f"{variant.comparison.label_agreement:.4%} of labels agree; {kept} kept in float32"
