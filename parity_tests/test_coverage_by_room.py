"""Shares by room, and the exit code at a floor."""

import json

import pytest

from . import coverage_by_room
from .coverage_by_room import by_room, main


def summary(lines, of_lines, branches, of_branches):
    names = ("covered_lines", "num_statements", "covered_branches", "num_branches")
    return {"summary": dict(zip(names, (lines, of_lines, branches, of_branches), strict=True))}


FILES = {
    "unet_spec/graph.py": summary(30, 40, 5, 10),
    "unet_spec/ops/conv.py": summary(10, 10, 0, 0),
    "/venv/lib/site-packages/unet_tools/cli.py": summary(9, 10, 3, 4),
    "/venv/lib/site-packages/unet_spec/graph.py": summary(0, 40, 0, 10),  # the installed copy, which did not run
    "tools/unet_tools/napari_plugin/panel.py": summary(0, 90, 0, 0),
    "parity_tests/conftest.py": summary(0, 10, 0, 4),
}


def test_files_are_added_up_by_room():
    assert by_room(FILES) == {"unet_spec": (80.0, 50.0, 75.0), "unet_tools": pytest.approx((90.0, 75.0, 1200 / 14))}


@pytest.mark.parametrize(("floor", "code"), [(75.0, 0), (75.1, 1)])
def test_a_room_below_its_floor_fails(floor, code, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(coverage_by_room, "FLOORS", {"unet_spec": floor})
    (tmp_path / "c.json").write_text(json.dumps({"files": FILES}))
    assert main([str(tmp_path / "c.json")]) == code
    row = next(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("unet_spec"))
    assert row == ["unet_spec", "80.0%", "50.0%", "75.0%", f"{floor:.1f}%"]
