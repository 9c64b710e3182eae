"""The colours of errors."""

import dataclasses
import math

import numpy as np
import pytest

from unet_tools.report import Example
from unet_tools.report.pixels import FALSE_NEGATIVE, FALSE_POSITIVE, UNLABELLED, color_classes, color_errors, panels

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")


def test_errors_have_their_colours():
    label, prediction = np.array([[0, 0, 1, 1, -1]]), np.array([[0, 1, 0, 1, 1]])
    shown = Example("x", np.zeros((1, 5), np.uint8), label, prediction)
    picture = color_errors(shown)[0]
    assert picture[1].tolist() == FALSE_POSITIVE.tolist()
    assert picture[2].tolist() == FALSE_NEGATIVE.tolist()
    assert picture[0].tolist() == picture[3].tolist() == picture[4].tolist() == [185] * 3
    assert shown.error == 0.5
    assert color_classes(label)[0, 4].tolist() == UNLABELLED.tolist()
    assert all(p.shape == (1, 5, 3) and p.dtype == np.uint8 for p in panels(shown).values())
    assert math.isnan(dataclasses.replace(shown, label=np.full((1, 5), -1)).error or 0)
