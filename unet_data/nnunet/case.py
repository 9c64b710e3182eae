"""Converts a case to the input of an nnU-Net network, and its logits to labels at the voxels of the file.

To the network: transpose axes, crop to the box of non-zero voxels, normalise, resample to the training spacing.
Back: resample logits, convert them to labels or probabilities, insert them in the uncropped volume, transpose axes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from unet_spec.errors import InputError

from ..io.budget import check_memory
from .intensity import normalize
from .plans import NnunetPlans
from .resample import new_shape, resample


@dataclass(frozen=True)
class Prepared:
    """A case, prepared for the network.

    Attributes:
        volume: (C, *spatial) float32, three spatial axes in the network's order (also for a 2-D network).
        spacing: millimetres per voxel of the file, in the network's order of axes.
        target: millimetres per voxel of `volume`.
        whole: voxels per axis before cropping.
        box: the box to which the volume was cropped.
    """

    volume: np.ndarray
    spacing: tuple[float, ...]
    target: tuple[float, ...]
    whole: tuple[int, ...]
    box: tuple[slice, ...]


def prepare_case(image: np.ndarray, spacing: tuple[float, ...], plans: NnunetPlans) -> Prepared:
    """Converts an image (C, z, y, x) of any real dtype to the network's input. `spacing` is in millimetres, (z, y, x).

    Raises InputError for another number of channels or axes, NaN and infinite values, and spacings that are not
    positive.
    """
    channels = len(plans.channel_names)
    if image.ndim != 4 or len(image) != channels or not image.size:
        names = ", ".join(plans.channel_names)
        raise InputError(f"an image of shape {image.shape}; expected (C, z, y, x) with {channels} channels: {names}")
    if len(spacing) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing):
        raise InputError(f"the spacing is {spacing}; expected three positive numbers (z, y, x), in millimetres")
    values = image.astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"the image holds {int((~np.isfinite(values)).sum())} NaN or infinite values")
    values = values.transpose(0, *(a + 1 for a in plans.transpose))
    own = tuple(spacing[a] for a in plans.transpose)
    target = plans.spacing if len(plans.spacing) == 3 else (own[0], *plans.spacing)  # slices are not resampled
    nonzero = (values != 0).any(0)
    box = bounding_box(nonzero)
    whole, values = values.shape[1:], values[:, *box]
    inside = None
    if any(masked for _, masked in plans.schemes):
        from scipy.ndimage import binary_fill_holes

        filled = np.asarray(binary_fill_holes(nonzero))
        inside = filled[box]
    for channel, (scheme, masked), measured in zip(values, plans.schemes, plans.intensities, strict=True):
        normalize(channel, scheme, inside if masked else None, measured)
    shape = new_shape(values.shape[1:], own, target)
    if min(shape) < 1:
        raise InputError(f"an image of {values.shape[1:]} voxels at {own} mm has no voxel at {target} mm")
    # A channel in float64 during resampling; the volume and its padded copy; the sums and the result.
    needed = math.prod(shape) * (24 + 8 * channels + 4 * plans.heads)
    needed += 8 * max(a * b for a, b in zip(shape, values.shape[1:], strict=True))  # the matrix of an axis
    check_memory("the image", needed, values.nbytes, f"{'x'.join(map(str, shape))} voxels at {target} mm need")
    return Prepared(resample(values, shape, own, target, plans.data_resampling), own, target, whole, box)


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that contains every true voxel; the whole volume if there is none."""
    if not mask.any():
        return tuple(slice(0, n) for n in mask.shape)
    box = []
    for axis in range(mask.ndim):
        where = np.flatnonzero(mask.any(tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(int(where[0]), int(where[-1]) + 1))
    return tuple(box)


def restore_logits(logits: np.ndarray, case: Prepared, plans: NnunetPlans) -> np.ndarray:
    """Resamples logits (K, *spatial) of `case.volume`, in any floating dtype, to the voxels of the cropped image."""
    shape = tuple(s.stop - s.start for s in case.box)
    return resample(logits, shape, case.target, case.spacing, plans.logits_resampling)


def labels_of(logits: np.ndarray, case: Prepared, plans: NnunetPlans) -> np.ndarray:
    """Labels (z, y, x) of the file's voxels, uint8 (uint16 for labels above 254), from `restore_logits`.

    A voxel has the most probable class (the first among equals). For regions, each one with a probability above a half
    writes its label, later regions over earlier ones. Voxels outside of the box are background.
    """
    if plans.regions is None:
        chosen = logits.argmax(0)
    else:
        chosen = np.zeros(logits.shape[1:], np.int64)
        for values, label in zip(_sigmoid(logits), plans.regions, strict=True):
            chosen[values > 0.5] = label
    result = np.zeros(case.whole, np.uint8 if chosen.max(initial=0) < 255 else np.uint16)
    result[case.box] = chosen
    return result.transpose(np.argsort(plans.transpose))


def probabilities_of(logits: np.ndarray, case: Prepared, plans: NnunetPlans) -> np.ndarray:
    """Probabilities (K, z, y, x) float32 of the file's voxels, from `restore_logits`; for regions, by a sigmoid each.

    Outside of the box the probability of background is 1.
    """
    result = np.zeros((len(logits), *case.whole), np.float32)
    if plans.regions is None:
        result[0] = 1
    result[:, *case.box] = _softmax(logits) if plans.regions is None else _sigmoid(logits)
    return result.transpose(0, *(a + 1 for a in np.argsort(plans.transpose)))


def _softmax(logits: np.ndarray) -> np.ndarray:
    values = logits.astype(np.float32)
    values -= values.max(0)
    np.exp(values, out=values)
    values /= values.sum(0)
    return values


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return expit(logits.astype(np.float32))
