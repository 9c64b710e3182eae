"""The table of steps on many chips."""

import json

import pytest

from benchmarks import pods
from benchmarks.pods import JOBS, TOPOLOGIES, Args, lines_of, main, row
from unet_spec import InputError


def test_each_chip_has_the_same_work_and_what_is_refused_has_its_reason():
    asked = []

    def plan(config, settings, device):
        asked.append((settings.optimisation.batch, settings.hardware.space, settings.hardware.fsdp, device))
        if settings.hardware.space > 1:
            raise InputError("cannot be cut")
        cost = {"memory": 3 * 2**30, "fits": True, "batch": asked[-1][0], "bound_seconds": 0.5, "binds": "links"}
        return cost | {"collectives": {"all-reduce": (7, 2**21)}, "compile_seconds": 9.0}, False

    lines = list(lines_of(Args(jobs=("3d",), chips=(4, 64)), plan))
    assert asked == [
        (4, 1, False, "tpu-v5e:2x2"),
        (64, 1, False, "tpu-v5e:8x8"),
        (4, 1, True, "tpu-v5e:2x2"),
        (64, 1, True, "tpu-v5e:8x8"),
        (4, 4, False, "tpu-v5e:2x2"),
        (64, 4, False, "tpu-v5e:8x8"),
    ]
    assert row(lines[1]) == ("3d", "data", "64", "3.0", "7 all-reduce", "2", "500, links, 128", "9")
    assert row(lines[-1]) == ("3d", "space", "64", "", "cannot be cut", "", "", "")


def test_the_record_has_each_line_and_unknown_names_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(
        pods, "lines_of", lambda args: iter([{"job": "paper", "way": "data", "chips": 4, "refused": "x"}])
    )
    assert main(Args(out=tmp_path / "pods.json")) == 0
    assert json.loads((tmp_path / "pods.json").read_text())["lines"][0]["refused"] == "x"
    with pytest.raises(InputError, match="unknown: ring, 7; there are paper, 3d"):
        main(Args(ways=("ring",), chips=(7,)))


def test_topologies_have_as_many_chips_as_they_say():
    for chips, topology in TOPOLOGIES.items():
        rows, columns = map(int, topology.split("x"))
        assert rows * columns == chips
    assert JOBS["paper"].tile == 572
