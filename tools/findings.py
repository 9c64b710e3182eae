"""One comparison of a runtime with the reference, and the bounds that it is held to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unet_data.predict import labels
from unet_export import Distance

BOUNDS = {"float64": 1e-12, "float32": 1e-5}
"""The largest error allowed, relative to the largest logit of the reference."""


@dataclass(frozen=True)
class Finding:
    """One comparison. `ok` is None where it was not made; `note` says why.

    `bound` is the largest `worst_relative` allowed, `least_agreement` the smallest `label_agreement`; either may be
    None. `dice` is the mean over classes, against labels that were given.
    """

    runtime: str
    dtype: str
    compared_with: str
    worst_relative: float | None = None
    rms_relative: float | None = None
    label_agreement: float | None = None
    bound: float | None = None
    ok: bool | None = None
    note: str = ""
    least_agreement: float | None = None
    dice: float | None = None


def compare(runtime: str, dtype: str, logits: np.ndarray, reference: np.ndarray, bound: float) -> Finding:
    """Logits (N, *spatial, K) against reference logits of the same shape."""
    distance = Distance.between(logits, reference)
    agreement = float(np.mean(labels(logits) == labels(reference)))
    most = distance.reference_max or 1.0
    return Finding(
        runtime,
        dtype,
        "NumPy float64",
        distance.worst_relative,
        distance.rms / most,
        agreement,
        bound,
        distance.worst_relative <= bound,
    )
