"""The table of training speeds."""

import json
from contextlib import nullcontext

import pytest

from benchmarks import train as bench_train
from benchmarks.train import CONTESTANTS, Args, contestants, main
from unet_spec import preset


def test_contestants_are_those_that_the_device_and_the_flags_allow():
    assert contestants(Args(), gpu=False) == ["jax", "torch eager", "torch channels_last"]
    assert contestants(Args(compile=True), gpu=True) == list(CONTESTANTS)
    assert "torch compiled" in contestants(Args(compile=True), gpu=False)


@pytest.mark.slow
def test_the_table_of_training_speeds(tmp_path):
    out = tmp_path / "new" / "speed.json"
    assert main(Args(widths=(2,), levels=2, tile=44, rounds=1, profile=True, out=out)) == 0
    found = json.loads(out.read_text())
    assert [line["runtime"] for line in found["lines"]] == ["jax", "torch eager", "torch channels_last"]
    assert all(line["seconds_per_step"] > 0 for line in found["lines"])
    assert found["profiles"]["2"]["kinds"]["convolution"] > 0
    assert not any("speeds" in line for line in found["lines"])


def test_several_starts_of_the_processes_count_alike(monkeypatch):
    made, turns, printed = [], iter([(1.0, 2.0), (3.0, 4.0), (2.0, 1.0)]), []

    class There(nullcontext):
        def __init__(self, make, name, *_):
            super().__init__()
            made.append(name)

    monkeypatch.setattr(bench_train, "Apart", There)
    monkeypatch.setattr(bench_train, "contestants", lambda args, gpu: ["jax", "torch eager"])
    monkeypatch.setattr(bench_train, "in_turns", lambda runs, *_: dict(zip(runs, next(turns), strict=True)))
    monkeypatch.setattr(bench_train, "print_table", lambda title, columns, lines, right: printed.extend(lines))
    assert main(Args(widths=(2,), levels=2, tile=44, starts=3)) == 0
    assert made == ["jax", "torch eager"] * 3
    assert [line[:3] for line in printed] == [("2", "jax", "2.000"), ("2", "torch eager", "2.000")]
    starts = {"jax": 1.0, "torch eager": 2.0}, {"jax": 4.0, "torch eager": 1.0}
    line = bench_train.compared(preset("paper", widths=(2, 4)), Args(tile=44), *starts)[0]
    assert (line["seconds_per_step"], line["speed_relative_to_torch_eager"], line["speeds"]) == (2.5, 0.6, [2.0, 0.25])
