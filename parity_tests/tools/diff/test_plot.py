"""The plot of a comparison, and the texts of its steps."""

import math

import pytest

from unet_spec import InputError
from unet_tools.diff.plot import save_plot
from unet_tools.diff.result import Reading, Step

from ...fixtures.drawings import comparison, described, figures, record

pytest.importorskip("matplotlib")


@pytest.mark.parametrize(
    "name", ["both passes of a comparison", "a comparison without errors", "a comparison without steps"]
)
def test_every_mark_axis_and_text_is_the_recorded_one(name):
    """After a change that is meant: python -m parity_tests.fixtures.drawings."""
    assert described(figures()[name]()) == record()[name]


def test_a_plot_is_a_png_or_an_svg_in_a_folder_that_exists(tmp_path):
    compared = comparison("forward")
    save_plot(compared, tmp_path / "a.PNG")
    save_plot(compared, tmp_path / "a.svg")
    assert (tmp_path / "a.PNG").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "a.svg").read_text()
    with pytest.raises(InputError, match=r"a plot is one of \.png, \.svg"):
        save_plot(compared, tmp_path / "a.pdf")
    with pytest.raises(InputError, match="no does not exist"):
        save_plot(compared, tmp_path / "no" / "a.png")


def test_the_first_step_that_differs_and_the_steps_to_show():
    compared = comparison("forward", "backward")
    for direction in ("forward", "backward"):
        assert [s.label for s in compared.shown(direction)] == [
            "encoder.0", "(network)", "decoder.1.block", "head", "loss"
        ]  # fmt: skip
        assert compared.first(direction).name == "decoder.1.block"
        assert {s.direction for s in compared.shown(direction)} == {direction}
    assert compared.same is False
    assert comparison().same is True
    assert comparison().first() is None
    found = compared.to_dict()
    assert (found["same"], found["first_backward"]["name"]) == (False, "decoder.1.block")
    assert found["first_forward"]["worst"]["own"] == 3e-3
    assert comparison("forward").to_dict()["first_backward"] is None


def reading(own, bound, total=0.0, ulps=0.0):
    return Reading("output", own, 0.0, total, bound, ulps, 0.0)


def test_the_worst_reading_exceeds_its_bound_the_most():
    small, large = reading(1e-3, 1e-4), reading(5e-3, 1e-3)
    within, total = reading(1e-5, 1e-4, total=1.0), reading(1e-5, 1e-4, total=2.0)
    unbounded = reading(0.5, 0.0)

    def worst(*readings):
        return Step("a", "a", "", "forward", "", readings).worst

    assert worst(large, small, within) is small
    assert worst(within, total) is total
    assert worst(within, large) is large
    assert worst(reading(0.25, 0.0), unbounded) is unbounded
    assert (reading(1e-4, 1e-4).differs, reading(2e-4, 1e-4).differs, reading(math.nan, 1).differs) == (
        False, True, True,
    )  # fmt: skip
    missing = Reading.missing("output", "no counterpart")
    assert (missing.differs, missing.bound, missing.note) == (True, 0.0, "no counterpart")
    assert missing.own == missing.inherited == missing.total == missing.own_ulps == missing.total_ulps == math.inf


def test_a_step_is_trivial_if_a_module_only_passes_values_on():
    def trivial(place, *readings):
        return Step("a", "a", "", "forward", place, readings).trivial

    assert trivial("after up", reading(0, 0), reading(1e-8, 1e-7, ulps=0.5))
    assert not trivial("after up", reading(0, 0), reading(1e-8, 1e-7, ulps=0.6))
    assert not trivial("after up", reading(1e-8, 1e-9, ulps=0.1))
    assert not trivial("", reading(0, 0))
