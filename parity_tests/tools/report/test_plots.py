"""Numbers and axes of the plots."""

import math

import pytest

from unet_tools.report.plots import series
from unet_tools.report.text import short

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")


def test_numbers():
    assert [short(v) for v in (3.14e-7, 0, 1.0, None, math.nan)] == ["3.1e-7", "0", "1.0e0", "–", "–"]
    steps, loss = series([{"step": 1, "loss": 2}, {"step": 2}, {"step": 3, "loss": math.inf}], "loss")
    assert (steps.tolist(), loss.tolist()) == ([1.0], [2.0])


def test_a_loss_that_falls_by_decades_has_plain_numbers():
    """Matplotlib's default labels of a log axis are TeX, which a report does not render."""
    from unet_tools.report.plots import draw_loss
    from unet_tools.report.style import drawing, new_figure

    with drawing():
        figure = new_figure(3, 2)
        axes = figure.add_subplot()
        draw_loss(axes, [{"step": i, "loss": 4.0 * 0.9**i} for i in range(60)])
        figure.canvas.draw()
        texts = [label.get_text() for label in axes.get_yticklabels(which="both")]
    assert "0.1" in texts
    assert not any("$" in text for text in texts)
