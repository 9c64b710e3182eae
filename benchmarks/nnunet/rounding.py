"""How far nnU-Net's float16 sums let probabilities be apart when logits agree to a network's own last bits.

A logit that lies at the edge between two float16 numbers becomes the one or the other by its last bit, and no two
kernels agree in that. But rounding is monotonic, and so is every step from a network's logits to a volume's: the mean
of views, sums under a positive weight, the quotient, the mean of folds, linear resampling. So the same steps, with all
logits lowered and then raised by the noise, enclose whatever they make of logits that near. A result outside of these
bounds has another cause than rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from unet_data.inference.stitch import Run
from unet_data.nnunet import NnunetPlans
from unet_data.nnunet.case import prepare_case, probabilities_of, restore_logits
from unet_data.nnunet.sliding import predict_volume

NOISE = 1e-5
"""Of a float32 forward pass, relative to its largest logit: what an imported network may be from its source's."""
SOFTMAX = 5e-7
"""A softmax's own rounding in float32, of a probability."""


def probabilities_and_bounds(
    runs: Sequence[Run], image: np.ndarray, spacing: tuple[float, ...], plans: NnunetPlans, noise: float = NOISE
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of `predict_case`, the least and the greatest that logits to within `noise` may give.

    Args: runs, image, spacing: as in `unet_data.nnunet.predict_case`; each network runs once. noise: relative to a
    network's largest logit. Returns three float32 arrays (K, z, y, x). Classes, not regions.
    """
    assert plans.regions is None
    case = prepare_case(image, spacing, plans)
    kept = [_Kept(run) for run in runs]

    def logits(of: Sequence[Run]) -> np.ndarray:
        found = predict_volume(of, case.volume, plans.window())
        return restore_logits(found, case, plans)

    own = probabilities_of(logits(kept), case, plans)
    low, high = (logits([network.shifted(sign * noise) for network in kept]) for sign in (-1, 1))

    def chances(of: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Of each class, its logit from `of` and its rivals' from `others`."""
        found = []
        for k in range(len(of)):
            mixed = others.copy()
            mixed[k] = of[k]
            found.append(probabilities_of(mixed, case, plans)[k])
        return np.stack(found)

    return own, chances(low, high) - np.float32(SOFTMAX), chances(high, low) + np.float32(SOFTMAX)


class _Kept:
    """A network whose logits are kept, to be given again."""

    def __init__(self, run: Run):
        self.run, self.logits = run, list[np.ndarray]()

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        self.logits.append(self.run(tiles).copy())  # a runtime may use its memory again
        return self.logits[-1]

    def shifted(self, part: float) -> Callable[[np.ndarray], np.ndarray]:
        by = np.float32(part * max(np.abs(logits).max() for logits in self.logits))
        left = iter(self.logits)
        return lambda tiles: next(left) + by
