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

    lines = list(lines_of(Args(jobs=("3d",), chips=(4, 64)), plan=plan))
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


def test_a_stopped_command_continues_and_other_chips_add_rows(tmp_path, monkeypatch):
    compiled = []

    def stored_plan(config, settings, device):
        if device.endswith("8x8") and not compiled:
            raise KeyboardInterrupt
        compiled.append(device)
        return {"memory": 1, "fits": True, "batch": 1, "bound_seconds": 1.0, "binds": "operations"} | {
            "collectives": {},
            "compile_seconds": 1.0,
        }, False

    def run(*chips):
        args = Args(out=tmp_path / "pods.json", jobs=("paper",), ways=("data", "space"), chips=chips)
        original = lines_of
        monkeypatch.setattr(pods, "lines_of", lambda args, done: original(args, done, stored_plan))
        try:
            assert main(args) == 0
        finally:
            monkeypatch.setattr(pods, "lines_of", original)

    def rows():
        return [(r["way"], r["chips"]) for r in json.loads((tmp_path / "pods.json").read_text())["lines"]]

    with pytest.raises(KeyboardInterrupt):
        run(64)
    run(16)
    assert rows() == [("data", 16), ("space", 16)]
    run(64, 16, 4)
    assert rows() == [("data", 4), ("data", 16), ("data", 64), ("space", 4), ("space", 16), ("space", 64)]
    assert [device[-3:] for device in compiled] == ["4x4", "4x4", "8x8", "2x2", "8x8", "2x2"]


def test_unknown_names_are_one_line():
    with pytest.raises(InputError, match="unknown: ring, 7; there are paper, 3d"):
        main(Args(ways=("ring",), chips=(7,)))


def test_topologies_have_as_many_chips_as_they_say():
    for chips, topology in TOPOLOGIES.items():
        rows, columns = map(int, topology.split("x"))
        assert rows * columns == chips
    assert JOBS["paper"].tile == 572
