"""The report as a picture."""

import pytest

from unet_tools.report import write_report
from unet_tools.report.picture import headline

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
from PIL import Image

from ...fixtures.drawings import described, figures, record
from .reports import bare, check


def test_picture_is_1600_pixels_wide(report, tmp_path):
    path = write_report(report, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "report.html"
    with Image.open(path.with_name("report.png")) as picture:
        picture.load()
        assert picture.width == 1600
        assert 1000 < picture.height < 2400
        assert len(picture.convert("RGB").getcolors(2**24)) > 100


def test_every_part_of_the_picture_is_the_recorded_one():
    """After a change that is meant: python -m parity_tests.fixtures.drawings."""
    assert described(figures()["summary"]()) == record()["summary"]


def test_the_line_below_the_title_has_scores_in_order_and_the_checks_that_ran():
    parity = [check("a", "b", 0.0, 1.0, ok) for ok in (True, False, True, None)]
    scores = {"dice": 0.5, "iou": 0.25, "pixel_accuracy": 0.75, "baseline_pixel_accuracy": 0.6, "pq": 1.0}
    checks = "2 of 3 parity checks pass"
    both = f"pixel accuracy 0.750 (one class: 0.600)   ·   IoU 0.250   ·   Dice 0.500   ·   {checks}"
    assert headline(bare(scores=scores, parity=parity)) == both
    assert headline(bare(scores={"dice": 0.5})) == "Dice 0.500"
    assert headline(bare(scores={"baseline_pixel_accuracy": 0.6}, parity=parity)) == checks
    assert headline(bare(parity=parity[3:])) == ""


def test_a_report_without_parts_is_a_title():
    from unet_tools.report.picture import plot_summary

    assert plot_summary(bare(facts={})).get_size_inches().tolist() == [8.0, 1.0]
