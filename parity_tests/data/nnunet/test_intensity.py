"""nnU-Net's schemes of normalisation by hand."""

from __future__ import annotations

import numpy as np
import pytest

from unet_data.nnunet.intensity import normalize
from unet_spec import InputError

from .example_plans import MEASURED


@pytest.mark.parametrize(
    ("scheme", "values", "wanted"),
    [
        ("ZScoreNormalization", [0, 2, 4, 6], np.array([-3, -1, 1, 3]) / np.sqrt(5)),
        ("CTNormalization", [-5, 2, 6, 50], [-0.75, 0, 1, 2]),
        ("NoNormalization", [0, 2, 4, 6], [0, 2, 4, 6]),
        ("RescaleTo01Normalization", [2, 4, 6, 10], [0, 0.25, 0.5, 1]),
        ("RGBTo01Normalization", [0, 51, 102, 255], [0, 0.2, 0.4, 1]),
    ],
)
def test_normalisation_by_hand(scheme, values, wanted):
    image = np.array(values, np.float32).reshape(1, 2, 2)
    np.testing.assert_allclose(normalize(image, scheme, None, MEASURED).ravel(), wanted, rtol=1e-6)


def test_a_mask_confines_the_z_score():
    image = np.array([0, 2, 6, 0], np.float32).reshape(1, 2, 2)
    mask = np.array([False, True, True, False]).reshape(1, 2, 2)
    np.testing.assert_allclose(normalize(image, "ZScoreNormalization", mask, {}).ravel(), [0, -1, 1, 0])
    with pytest.raises(InputError, match="RGBTo01"):
        normalize(np.full((1, 1, 1), 256.0, np.float32), "RGBTo01Normalization", None, {})
