"""Bounds on how far probabilities can differ by nnU-Net's float16 sums if logits agree to their last bits.

The last bit of a logit near the midpoint of two float16 numbers decides to which of them it is rounded, and no two
kernels agree in that bit. But rounding is monotonic, and so is every step from a network's logits to a volume's: the
mean of views, sums with positive weights, the quotient, the mean of folds, linear resampling. So the results for all
logits lowered, and for all raised, by the noise enclose the results for all logits within the noise. A result outside
of these bounds has another cause than rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from unet_data.inference.stitch import Run
from unet_data.nnunet import NnunetPlans
from unet_data.nnunet.case import prepare_case, probabilities_of, restore_logits
from unet_data.nnunet.sliding import predict_volume

NOISE = 1e-5
"""Allowed difference of an imported network from its source in float32, relative to the largest logit."""
SOFTMAX = 5e-7
"""Rounding error of a probability in a float32 softmax."""


def probabilities_and_bounds(
    runs: Sequence[Run], image: np.ndarray, spacing: tuple[float, ...], plans: NnunetPlans, noise: float = NOISE
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of `predict_case`, and their minimum and maximum over all logits within `noise`.

    Args:
        runs, image, spacing, plans: as in `unet_data.nnunet.predict_case`; each network runs once. The plans have
            classes, not regions.
        noise: relative to a network's largest logit.

    Returns:
        Three float32 arrays (K, z, y, x).
    """
    assert plans.regions is None
    case = prepare_case(image, spacing, plans)
    recorded = [_Recorded(run) for run in runs]

    def logits(of: Sequence[Run]) -> np.ndarray:
        found = predict_volume(of, case.volume, plans.window())
        return restore_logits(found, case, plans)

    own = probabilities_of(logits(recorded), case, plans)
    low, high = (logits([network.shifted(sign * noise) for network in recorded]) for sign in (-1, 1))

    def chances(of: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Probability of each class with its logit from `of` and those of the other classes from `others`."""
        found = []
        for k in range(len(of)):
            mixed = others.copy()
            mixed[k] = of[k]
            found.append(probabilities_of(mixed, case, plans)[k])
        return np.stack(found)

    return own, chances(low, high) - np.float32(SOFTMAX), chances(high, low) + np.float32(SOFTMAX)


class _Recorded:
    """A network whose logits are recorded, to be replayed with a shift."""

    def __init__(self, run: Run):
        self.run, self.logits = run, list[np.ndarray]()

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        self.logits.append(self.run(tiles).copy())  # a runtime may reuse its output's memory
        return self.logits[-1]

    def shifted(self, part: float) -> Callable[[np.ndarray], np.ndarray]:
        by = np.float32(part * max(np.abs(logits).max() for logits in self.logits))
        left = iter(self.logits)
        return lambda tiles: next(left) + by
