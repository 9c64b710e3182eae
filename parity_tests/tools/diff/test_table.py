"""A comparison in the terminal: each number below its heading, in its format."""

import math
from dataclasses import replace

import pytest

from unet_tools.diff.result import Reading, Step
from unet_tools.diff.table import describe, number, print_comparison, ulps

from ...fixtures.drawings import comparison


def test_each_number_stands_below_its_heading(capsys):
    unmatched = {"torch": [f"m{n}" for n in range(10)], "nnx": [f"n{n}" for n in range(8)], "numpy": []}
    compared = replace(comparison("forward", "backward"), unmatched=unmatched, notes=("no gradient of x",))
    print_comparison(compared)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "forward: torch, relative to nnx"
    head, *rows = printed[1:7]
    assert head.split() == ["layer", "tensor", "own", "ulp", "inherited", "total", "ulp", "bound", "of", "own"]
    assert [row.split() for row in rows] == [
        ["encoder.0", "output", "0", "0", "0", "0", "0", "2.0e-07", "same"],
        ["(network)", "output", "1.0e-09", "0.01", "0", "1.0e-09", "0", "2.0e-07", "same"],
        ["decoder.1.block", "output", "3.0e-03", "30000", "4.0e-05", "3.0e-03", "400", "2.0e-07", "differs"],
        ["head", "output", "1.0e-07", "1", "2.0e-03", "2.0e-03", "20000", "2.0e-07", "inherited"],
        ["loss", "output", "nan", "nan", "inf", "nan", "inf", "2.0e-07", "differs"],
    ]
    ends = {head.index(name) + len(name) for name in ("own", "inherited", "total", "bound of own")}
    for row in rows:
        assert all(row[end - 1] != " " and row[end] == " " for end in ends), row
    assert printed[7:9] == ["", "backward: torch, relative to nnx"]
    text = " ".join(printed[15:])
    assert "only in torch: m0, m1, m2, m3, m4, m5, m6, m7 and 2 more (counted as code" in text
    assert "only in nnx: n0, n1, n2, n3, n4, n5, n6, n7 (counted as code" in text
    assert "only in numpy" not in text
    assert "no gradient of x" in text
    first = "diverges first at decoder.1.block: output, relative 3.0e-03, 30000 ulp, bound 2.0e-07"
    assert f"forward: {first}" in text
    assert f"backward: {first}" in text
    assert "the same" not in text
    print_comparison(replace(comparison(), unmatched={}))
    assert capsys.readouterr().out == "the same: every layer is within rounding of the other side's\n"


def test_a_step_is_described_by_its_worst_tensor_or_its_note():
    reading = Reading("gradient of weight", 0.5, 0.0, 0.5, 0.0, 1234.5, 1234.5)
    step = Step("", "", "", "backward", "after up", (reading,), "differs")
    own = "(its own code, between the modules within it)"
    assert describe(step) == f"(network) after up {own}: gradient of weight, relative 5.0e-01, 1234 ulp, bound 0"
    missing = Step("head", "head", "", "forward", "", (Reading.missing("output", "no counterpart"),), "differs")
    assert describe(missing) == "head: output, no counterpart"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (0.123, "0.12"), (99.4, "99"), (100.0, "100"), (99999.0, "99999"), (1e5, "1.0e+05"),
     (math.inf, "inf"), (math.nan, "nan")],
)  # fmt: skip
def test_units_in_the_last_place_as_text(value, expected):
    assert ulps(value) == expected
    assert number(0.0) == "0"
