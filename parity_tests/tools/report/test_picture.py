"""The report as a picture."""

import pytest

from unet_tools.report import write_report

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
from PIL import Image


def test_picture_is_1600_pixels_wide(report, tmp_path):
    path = write_report(report, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "report.html"
    with Image.open(path.with_name("report.png")) as picture:
        picture.load()
        assert picture.width == 1600
        assert 1000 < picture.height < 2400
        assert len(picture.convert("RGB").getcolors(2**24)) > 100
