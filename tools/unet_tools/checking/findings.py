"""Comparisons of runtimes with the reference, and their bounds."""

from __future__ import annotations

from dataclasses import dataclass

from unet_export.reference import FLOAT32_BOUND, Comparison

BOUNDS = {"float64": 1e-12, "float32": FLOAT32_BOUND}
"""Maximum error, relative to the largest logit of the reference."""


@dataclass(frozen=True)
class Finding:
    """One comparison.

    Attributes:
        runtime, dtype: The compared runtime and its precision.
        compared_with: The reference.
        worst_relative, rms_relative: Errors of the logits, relative to the largest logit of the reference.
        label_agreement: Share of pixels with the same label.
        bound: Maximum allowed `worst_relative`, if any.
        ok: Whether both bounds hold; None if the comparison was not made (`note` gives the reason).
        least_agreement: Minimum allowed `label_agreement`, if any.
        dice: Mean Dice over classes, if labels were given.
    """

    runtime: str
    dtype: str
    compared_with: str = "NumPy float64"
    worst_relative: float | None = None
    rms_relative: float | None = None
    label_agreement: float | None = None
    bound: float | None = None
    ok: bool | None = None
    note: str = ""
    least_agreement: float | None = None
    dice: float | None = None

    @classmethod
    def of(
        cls,
        runtime: str,
        dtype: str,
        compared: Comparison,
        bound: float | None = None,
        least_agreement: float | None = None,
        note: str = "",
        dice: float | None = None,
    ) -> Finding:
        """Creates the finding of a comparison with the float64 reference.

        Args:
            compared: the errors. All other arguments are the attributes of the same name; `ok` follows from them.
        """
        distance, agreement = compared.distance, compared.label_agreement
        close = bound is None or distance.worst_relative <= bound
        return cls(
            runtime,
            dtype,
            worst_relative=distance.worst_relative,
            rms_relative=distance.rms / (distance.reference_max or 1.0),
            label_agreement=agreement,
            bound=bound,
            ok=close and (least_agreement is None or agreement >= least_agreement),
            note=note,
            least_agreement=least_agreement,
            dice=dice,
        )
