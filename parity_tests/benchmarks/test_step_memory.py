"""Planned beside measured memory: the table, and what fails."""

import json

import pytest

from benchmarks import step_memory
from benchmarks.step_memory import JOBS, Args, difference, main, row, settings_of
from unet_spec import InputError


def line(memory, used, bound, seconds):
    planned = {"memory": memory, "batch": 2, "tile": (64, 64), "bound_seconds": bound, "binds": "operations"}
    return {"network": "n", "planned": planned, "measured": {"used": used, "seconds": seconds}}


def test_a_line_has_the_difference_in_terms_of_what_is_measured():
    one = line(115 * 2**20, 100 * 2**20, 0.5, 0.75)
    assert difference(one) == pytest.approx(0.15)
    assert row(one) == ("n", "2 of 64x64", "115", "100", "+15%", "0.50, operations", "0.75")


FINE, TOO_MUCH, TOO_LITTLE = line(110, 100, 1.0, 1.1), line(120, 100, 1.0, 1.1), line(80, 100, 1.0, 1.1)
TOO_FAST = line(100, 100, 1.2, 1.1)


@pytest.mark.parametrize(("found", "code"), [(FINE, 0), (TOO_MUCH, 1), (TOO_LITTLE, 1), (TOO_FAST, 1)])
def test_the_exit_code_is_1_where_a_plan_is_wrong(found, code, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(step_memory, "lines_of", lambda names: [found])
    assert main(Args(out=tmp_path / "a.json", only=("unet++",))) == code
    (stored,) = json.loads((tmp_path / "a.json").read_text())["results"]
    assert stored["measured"] == found["measured"]
    assert "a training step on this CPU" in capsys.readouterr().out


def test_ten_networks_with_tiles_that_fit():
    assert len(JOBS) == 10
    for job in JOBS.values():
        assert set(settings_of(job).data.tile_shape(job.config)) == {job.tile}
    with pytest.raises(InputError, match=r"no network x; there are: paper"):
        main(Args(only=("x",)))
