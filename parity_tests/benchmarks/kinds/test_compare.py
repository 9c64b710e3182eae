"""The benchmark of kinds: its runs, and the table."""

import pytest

from benchmarks.kinds.compare import HEAD, Args, page, run_keys, table
from unet_spec import InputError


def test_runs_are_made_kind_by_kind(tmp_path):
    args = Args(tmp_path / "x.json", kinds=("12 bits", "rare class"), programs=("modern", "no settings"), seeds=(1, 0))
    runs = [(run["seed"], run["kind"], run["program"]) for run in run_keys(args)]
    assert runs[:3] == [(1, "12 bits", "modern"), (1, "12 bits", "no settings"), (1, "rare class", "modern")]
    assert len(runs) == 8
    with pytest.raises(InputError, match=r"unknown: plain; there are: tiny objects, .*paper-2015"):
        list(run_keys(Args(tmp_path / "x.json", programs=("plain",))))


def run(kind, program, seed, iou):
    return {"kind": kind, "program": program, "minutes": 4, "seed": seed, "iou": iou, "steps": 100 * (1 + seed)}


def test_the_table_has_a_line_for_each_kind():
    runs = [run("12 bits", "modern", 0, 0.5), run("12 bits", "no settings", 0, 0.25)]
    runs += [run("12 bits", "no settings", 1, 0.75), run("tiny objects", "paper-2015", 0, 0.125)]
    assert table(runs) == [
        ("tiny objects", "4", "1", "", "", "0.125", "–, –, 100"),
        ("12 bits", "4", "2", "0.500 ± 0.354", "0.500", "", "150, 100, –"),
    ]
    assert HEAD[3:6] == ("IoU, no settings", "IoU, modern", "IoU, paper-2015")
    text = page({"runs": runs, "command": "C", "data": "D", "date": "T", "hardware": "H"})
    assert "| 12 bits | 4 | 2 | 0.500 ± 0.354 | 0.500 |  | 150, 100, – |" in text
