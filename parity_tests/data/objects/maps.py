"""Maps of probabilities for tests, and settings that reach into every branch."""

import numpy as np
from scipy import ndimage

from unet_data import ObjectSettings


def blobs(shape, seed, classes=2, sigma=2.0):
    """Probabilities 0..255 of class 1, (*spatial), or of three classes, of which the last may be a border."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.random(shape), sigma)
    values = np.round((smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255)
    if classes == 2:
        return values.astype(np.uint8)
    other = np.round(values * 0.4 * rng.random(shape))
    return np.stack([255 - values, values - other, other], -1).astype(np.uint8)


def discs(shape, circles):
    """255 inside of circles or balls (centre…, radius), 0 elsewhere."""
    grid = np.indices(shape)
    result = np.zeros(shape, np.uint8)
    for *centre, radius in circles:
        result[sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2] = 255
    return result


VARIANTS = {
    "distance": ({}, 2),
    "probability": ({"method": "probability", "neck": 0.9}, 2),
    "smooth": ({"smoothing": 2, "reach": 3, "neck": 0.6}, 2),
    "holes": ({"fill_holes": 9, "reach": 4, "core": 0.45}, 2),
    "grown": ({"foreground": 0.35, "grow": 3, "reach": 5, "neck": 0.9}, 2),
    "sizes": ({"minimum_size": 12, "maximum_size": 90, "reach": 4}, 2),
    "border": ({"method": "probability", "border": 2, "foreground": 0.4, "core": 0.3, "grow": 2, "neck": 0.95}, 3),
    "predicted": ({"method": "predicted", "distance": 2, "core": 0.4, "foreground": 0.4, "smoothing": 1}, 3),
    "classes": ({"neck": 0.95, "reach": 6, "core": 0.4, "foreground": 0.4}, 3),
    "spacing": ({"spacing": (2, 1), "reach": 5, "neck": 0.9, "core": 0.45}, 2),
    "never": ({"neck": 0.0, "core": 0.45}, 2),
    "always": ({"neck": 1.0, "smoothing": 1}, 2),
}
"""By name: changes to the settings, classes."""


def variant(name, dims=2):
    changes, classes = VARIANTS[name]
    if "spacing" in changes and dims == 3:
        changes = changes | {"spacing": (3, 1, 1)}
    return ObjectSettings(**changes), classes
