"""Examples in a report."""

import numpy as np
import pytest

from unet_spec import InputError
from unet_tools.report import Example

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((4, 4), np.float32)}, "image is float32"),
        ({"image": np.zeros((4, 4, 2), np.uint8)}, r"give uint8 \(H, W\) or \(H, W, 3\)"),
        ({"label": np.zeros((4, 5), int)}, r"label is int64 \(4, 5\); give integers \(4, 4\)"),
        ({"prediction": np.zeros((4, 4))}, "prediction is float64"),
        ({"probability": np.zeros((4, 4), int)}, "probability is int64 .* give floats"),
    ],
)
def test_examples_are_checked(change, message):
    good = {"image": np.zeros((4, 4), np.uint8), "label": None, "prediction": np.zeros((4, 4), np.uint8)}
    with pytest.raises(InputError, match=message):
        Example("x", **{**good, **change})
