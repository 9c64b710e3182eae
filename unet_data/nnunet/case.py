"""A case on its way into an nnU-Net network, and its logits on their way back to the voxels of the file.

In: axes transposed, cropped to the box of non-zero voxels, normalised, resampled to the spacing of the training.
Back: logits resampled, made labels or probabilities, laid into the uncropped volume, axes transposed back.
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
    """A case as the network takes it.

    Attributes:
        volume: (C, *spatial) float32, three spatial axes in the network's order (also for a 2-D network).
        spacing: millimetres per voxel of the file, in the network's order of axes. target: of `volume`.
        whole: voxels per axis before cropping. box: what was kept of them.
    """

    volume: np.ndarray
    spacing: tuple[float, ...]
    target: tuple[float, ...]
    whole: tuple[int, ...]
    box: tuple[slice, ...]


def prepare_case(image: np.ndarray, spacing: tuple[float, ...], plans: NnunetPlans) -> Prepared:
    """From an image (C, z, y, x) of any real dtype, and its millimetres per voxel (z, y, x), to the network's input.

    Raises InputError on another number of channels or axes, NaN and infinity, spacings that are not positive.
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
    target = plans.spacing if len(plans.spacing) == 3 else (own[0], *plans.spacing)  # slices stay where they are
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
    # A channel in float64 while it is resampled; the volume and its padded copy; sums and their result.
    needed = math.prod(shape) * (24 + 8 * channels + 4 * plans.heads)
    needed += 8 * max(a * b for a, b in zip(shape, values.shape[1:], strict=True))  # the matrix of an axis
    check_memory("the image", needed, values.nbytes, f"{'x'.join(map(str, shape))} voxels at {target} mm need")
    return Prepared(resample(values, shape, own, target, plans.data_resampling), own, target, whole, box)


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds every true voxel; the whole volume where there is none."""
    if not mask.any():
        return tuple(slice(0, n) for n in mask.shape)
    box = []
    for axis in range(mask.ndim):
        where = np.flatnonzero(mask.any(tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(int(where[0]), int(where[-1]) + 1))
    return tuple(box)


def restore_logits(logits: np.ndarray, case: Prepared, plans: NnunetPlans) -> np.ndarray:
    """Logits (K, *spatial) of `case.volume`, in any floating dtype, at the voxels of the cropped image."""
    shape = tuple(s.stop - s.start for s in case.box)
    return resample(logits, shape, case.target, case.spacing, plans.logits_resampling)


def labels_of(logits: np.ndarray, case: Prepared, plans: NnunetPlans) -> np.ndarray:
    """Labels (z, y, x) of the file's voxels, uint8 (uint16 where there are more than 255), from `restore_logits`.

    The most probable class (the first of equal ones); of regions, every one whose probability is above a half writes
    its label, later ones over earlier ones. Background outside of the box.
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
    """Probabilities (K, z, y, x) float32 of the file's voxels, from `restore_logits`: softmax, or a sigmoid a region.
    Outside of the box it is background for certain."""
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
