"""PARITY.md and its details: short, complete, and stale if the comparisons have changed."""

import json
import math

import pytest

from . import parity_md
from .battery import CASES, CHECKS, Measurement, plan
from .parity_md import details, left_out, main, read_record, record, render


def measured(case, check, runtime="jax", dtype="float64", worst=1e-14, bound=1e-12, **more):
    return Measurement(runtime, dtype, worst, bound, case=case, check=check, **more)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A record of two checks on two networks, with page and details in the same folder."""
    monkeypatch.setattr(parity_md, "PAGE", tmp_path / "PARITY.md")
    monkeypatch.setattr(parity_md, "DETAILS", tmp_path / "parity.json")
    monkeypatch.setenv("PARITY_RECORD", str(tmp_path / "record"))
    record([measured("paper", "forward.eval"), measured("same", "forward.eval", "torch", worst=5e-13)])
    record([measured("paper", "mapping.bijection", "graph", "any", 0, 0, where="names")])
    return tmp_path


def test_the_page_of_the_whole_battery_is_short():
    """Every check on each of its networks, in three runtimes and three dtypes."""
    runtimes = [(r, d) for r in ("jax", "jax, torch", "torch") for d in ("float64", "float32", "bfloat16")]
    everything = [measured(c.name, n, r, d) for c, n, reason in plan(slow=True) if not reason for r, d in runtimes]
    page = render(everything)
    assert len(page.splitlines()) <= 200
    assert [name for name in CHECKS if f"| {name} | " not in page] == []
    assert "this run left it out" not in page


def test_a_row_shows_the_comparison_nearest_to_its_bound(files):
    page = render(read_record(files / "record"))
    what = "Every output in evaluation, on a non-square image in an odd batch and on one with a large mean"
    assert f"| forward.eval | {what} | jax; torch | float64 | 2 | 5.0e-13 | 1.0e-12 |" in page
    assert "3 comparisons on 2 networks, 0 over their bound." in page


def test_every_comparison_is_run_or_has_its_reason(files):
    measurements = read_record(files / "record")
    reasons = left_out(measurements)
    named = [(case, check) for by_check in reasons.values() for check, cases in by_check.items() for case in cases]
    ran = {(m.case, m.check) for m in measurements}
    assert sorted([*named, *ran]) == sorted((case, check) for case in CASES for check in CHECKS)
    assert ("same-full", "forward.layers") in [
        (case, check) for why, by_check in reasons.items() if why.startswith("full width") for check, cases in
        by_check.items() for case in cases
    ]  # fmt: skip


def test_the_details_are_json_with_a_line_for_each_comparison(files):
    assert main(["--from", str(files / "record")]) == 0
    text = (files / "parity.json").read_text()
    values = json.loads(text)
    assert values["comparisons"]["same"] == {"forward.eval": [["torch", "float64", 5e-13, 1e-12, ""]]}
    assert '["torch", "float64", 5e-13, 1e-12, ""]' in text
    assert values == json.loads(json.dumps(details(read_record(files / "record"))))


@pytest.mark.parametrize(
    ("more", "lines"),
    [
        ({"runtime": "onnxruntime"}, ["PARITY.md is stale", "parity.json is stale: paper forward.eval [onnxruntime,"]),
        ({"dtype": "float32"}, ["PARITY.md is stale", "parity.json is stale: paper forward.eval [jax, float32]"]),
        ({"case": "article"}, ["PARITY.md is stale", "parity.json is stale: article forward.eval: this run left"]),
        ({"case": "same"}, ["PARITY.md is stale", "parity.json is stale: same forward.eval [jax, float64]"]),
    ],
)
def test_another_comparison_makes_both_files_stale_and_another_number_neither(more, lines, files, capsys):
    source = str(files / "record")
    assert main(["--from", source]) == 0
    record([measured("paper", "forward.eval", worst=3e-13)])
    assert main(["--from", source, "--check"]) == 0
    capsys.readouterr()
    record([measured(**{"case": "paper", "check": "forward.eval"} | more)])
    assert main(["--from", source, "--check"]) == 1
    printed = capsys.readouterr().err
    assert [line for line in lines if line not in printed] == []


@pytest.mark.parametrize("bad", [{"worst": 2e-12}, {"worst": math.nan}, {"crash": "ValueError: no"}])
def test_an_error_over_its_bound_fails_and_is_named(bad, files, capsys):
    record([measured("paper", "forward.layers", **bad)])
    assert main(["--from", str(files / "record")]) == 1
    assert "paper forward.layers [jax, float64]" in capsys.readouterr().err
    assert "1 over their bound" in (files / "PARITY.md").read_text()


def test_without_a_record_nothing_is_written(files, monkeypatch):
    before = (files / "record").read_bytes()
    monkeypatch.delenv("PARITY_RECORD")
    record([measured("paper", "forward.eval")])
    assert (files / "record").read_bytes() == before
