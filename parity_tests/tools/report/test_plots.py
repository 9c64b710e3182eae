"""Numbers and axes of the plots."""

import math

import numpy as np
import pytest

from unet_tools.report.plots import series
from unet_tools.report.text import (
    agreement,
    as_text,
    fit,
    large,
    printable,
    receptive_field,
    seconds,
    share,
    short,
    size,
    size_label,
    times,
)

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
from ...fixtures.drawings import described, figures, record

PLOTS = [
    "a long training", "a loss that falls by decades", "one step", "no loss", "scores",
    "many scores without a baseline", "no scores", "learning rate", "one value", "parity", "one check",
]  # fmt: skip


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


@pytest.mark.parametrize("name", PLOTS)
def test_every_line_axis_and_text_of_a_plot_is_the_recorded_one(name):
    """After a change that is meant: python -m parity_tests.fixtures.drawings."""
    assert described(figures()[name]()) == record()[name]


def test_the_record_has_every_figure():
    assert list(record()) == list(figures())


def test_a_median_hides_no_trend_and_an_outlier_does_not_set_the_scale():
    from unet_tools.report.plots import draw_loss, figure_of

    loss = [1.0 - s / 500 for s in range(200)]
    loss[100] = 10.0
    log = [{"step": s, "loss": value} for s, value in enumerate(loss)]
    [axes] = figure_of(draw_loss, 4, 2, log).axes
    every, median = axes.lines
    np.testing.assert_allclose(every.get_ydata(), loss)
    straight = [1.0 - s / 500 for s in range(200)]
    np.testing.assert_allclose(median.get_ydata(), straight, atol=1 / 500 + 1e-12)
    assert (median.get_ydata()[0], median.get_ydata()[-1]) == (loss[0], loss[-1])
    assert axes.get_ylim() == pytest.approx((0, 1.1 * np.quantile(loss, 0.99)))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (printable("a\x00b\tc\udcff"), "a\ufffdb\tc\ufffd"),
        (fit("  two \n words ", 9), "two words"),
        (fit("two words", 8), "two wor…"),
        (short(1.26e-7, 1), "1e-7"),
        (short(-0.5), "-5.0e-1"),
        (share(0.12345), "12.35%"),
        (share(1.0), "100.00%"),
        (share(None), "–"),
        (share(math.inf), "–"),
        (agreement(1), "100%"),
        (agreement(0.99999999), "99.9999%"),
        (agreement(0.5), "50.0000%"),
        (agreement(math.nan), "–"),
        (agreement(None), "–"),
        (size((5, 6, 7)), "5 × 6 × 7"),
        (size(None), "–"),
        (seconds(0.414), "0.41 s"),
        (seconds(9.99), "9.99 s"),
        (seconds(10), "10.0 s"),
        (seconds(99.4), "99.4 s"),
        (seconds(99.5), "1 min 40 s"),
        (seconds(3725), "62 min 05 s"),
        (seconds(None), "–"),
        (seconds(math.inf), "–"),
        (as_text(None), "–"),
        (as_text(True), "yes"),
        (as_text(False), "no"),
        (as_text(12345), "12,345"),
        (as_text(0.5), "0.5"),
        (as_text(12.81, "seconds"), "12.8 s"),
        (as_text(2481152, "bytes"), "2.5 MB (2,481,152 bytes)"),
        (as_text(1.5, "bytes"), "1.5"),
        (as_text("a", "seconds"), "a"),
        (as_text({"min": [1, 2], "max": (3, 4)}, "profile"), "min: 1 × 2, max: 3 × 4"),
        (as_text([1, "a"], "profile"), "1, a"),
        (as_text([], "profile"), ""),
        (as_text([1, 2]), "1, 2"),
        (size_label([572, 572, 3]), "572²"),
        (size_label([8, 8, 8, 3]), "8³"),
        (size_label([8, 3]), "8"),
        (size_label([8, 9, 10, 3]), "8\n×9\n×10"),
        (large(150428424448), "150.4 G"),
        (large(10**9), "1.0 G"),
        (large(10**9 - 1), "1,000.0 M"),
        (large(10**6), "1.0 M"),
        (large(999_999), "999,999"),
        (times("3x3x3 valid"), "3×3×3 valid"),
        (times("x2 linear, exact"), "×2 linear, exact"),
        (receptive_field({"receptive_field": {"widths": {"188": 1, "204": 2, "92": 1}}}), "92–204"),
        (receptive_field({"receptive_field": {"widths": {"18": 1}}}), "18"),
        (receptive_field({"receptive_field": None}), ""),
        (receptive_field({}), ""),
    ],
)
def test_numbers_as_text(made, expected):
    assert made == expected


@pytest.mark.parametrize(
    ("losses", "scale"),
    [([8.0, 1.0, 0.0], "linear"), ([3.0, 1.0, 0.1], "linear"), ([3.1, 1.0, 0.1], "log"), ([3.1, 1, -0.1], "linear")],
)
def test_a_loss_is_drawn_on_a_log_axis_if_it_falls_thirtyfold_and_stays_above_zero(losses, scale):
    from unet_tools.report.plots import draw_loss, figure_of

    log = [{"step": step, "loss": loss} for step, loss in enumerate(losses)]
    [axes] = figure_of(draw_loss, 4, 2, log).axes
    assert axes.get_yscale() == scale
    if scale == "linear":
        assert axes.get_ylim()[0] == min(0, *losses)
