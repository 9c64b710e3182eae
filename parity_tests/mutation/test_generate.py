"""Each kind of change, and a driver that tells a test that sees from one that does not."""

import json
import subprocess
from dataclasses import asdict

import pytest

from .. import ROOT, mutation
from ..docs import test_doctests
from . import __main__ as driver
from .choose import Measured
from .equivalent import EQUIVALENT
from .generate import mutants


def changes(text):
    return {(m.kind, m.applied(text)) for m in mutants("x.py", text) if m.changes(text)}


@pytest.mark.parametrize(
    ("text", "kind", "changed"),
    [
        ("a < b", "comparison", "a <= b"),
        ("a is not None", "comparison", "a is None"),
        ("é = a - b", "operator", "é = ((a) + (b))"),
        ("a and b or c", "and, or", "((a and b) and (c))"),
        ("not a", "negation", "(a)"),
        ("x = True", "constant", "x = False"),
        ("x = 3", "constant", "x = 4"),
        ("x = 0.5", "constant", "x = 2.0"),
        ("if a:\n    b", "condition", "if (not (a)):\n    b"),
        ("x[a:]", "slice", "x[(a) + 1:]"),
        ("f(a, b, c)", "swapped arguments", "f(b, a, c)"),
        ("f(a, b=1, c=2)", "without b=", "f(a, c=2)"),
    ],
)
def test_each_kind_of_change(text, kind, changed):
    assert (kind, changed) in changes(text)


@pytest.mark.parametrize(
    "text",
    [
        '"""1 < 2"""',
        "x: f[1] = a",
        "def f(x: g(1, 2)) -> g(1, 2): ...",
        "raise E(1 + 2)",
        "f'{a + b}'",
        "max(a, b)",
        "np.minimum(a, b)",
        "zip(*a, strict=True)",
    ],
)
def test_what_is_left_alone(text):
    assert changes(text) == set()


@pytest.mark.slow
def test_a_mutant_is_killed_by_a_test_that_looks_and_survives_one_that_does_not(tmp_path, monkeypatch):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "m.py").write_text("def add(a, b):\n    return a + b\n")
    (tmp_path / "test_m.py").write_text(
        "from p.m import add\ndef test_sees(): assert add(1, 2) == 3\ndef test_sees_nothing(): add(1, 2)\n"
    )
    monkeypatch.setattr(driver, "ROOT", tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    tree = driver.copied(tmp_path.parent / f"{tmp_path.name}-tree")
    (mutant,) = mutants("p/m.py", (tmp_path / "p" / "m.py").read_text())
    for name, outcome in (("test_sees", "killed"), ("test_sees_nothing", "survived")):
        assert driver.tried(mutant, [f"test_m.py::{name}"], tree, 300)["outcome"] == outcome
    assert (tree / "p" / "m.py").read_text() == (tmp_path / "p" / "m.py").read_text()
    assert driver.tried(mutant, [], tree, 60)["outcome"] == "not run"
    assert mutation.__doc__


def test_the_tests_of_a_line_are_those_that_run_it_or_import_its_module():
    seconds = {"b/test_o.py::x": 3.0, "b/test_a.py::x": 5.0, "b/test_m.py::z": 100.0, "b/test_l.py::x": 58.0}
    seen = Measured({"p/m.py": {1: [], 2: ["b/test_a.py::x", "b/test_o.py::x", "b/test_m.py::z"]}}, seconds)
    shortest = ["b/test_m.py::z", "b/test_o.py::x", "b/test_a.py::x"]
    assert seen.tests_of("p/m.py", 2, 4) == seen.tests_of("p/m.py", 1, 1) == shortest
    assert seen.tests_of("p/m.py", 4, 4) == seen.tests_of("p/other.py", 2, 2) == []
    long = Measured({"p/m.py": {2: ["b/test_l.py::x", "b/test_o.py::x"]}}, seconds)
    assert long.tests_of("p/m.py", 2, 2) == ["b/test_o.py::x"]  # more than a minute together
    many = Measured({"p/m.py": {2: [f"b/test_n.py::{n}" for n in range(50)]}}, {})
    assert len(many.tests_of("p/m.py", 2, 2)) == 40


def test_new_tests_are_tried_on_what_the_record_has_as_not_killed(tmp_path, monkeypatch):
    (tmp_path / "m.py").write_text("def add(a, b):\n    return a + b\nadd(1, 2)\n")
    found = mutants("m.py", (tmp_path / "m.py").read_text())
    records = [asdict(m) | {"tests": 1, "by": "", "reason": "", "outcome": "survived"} for m in found]
    records[0]["outcome"] = "killed"
    record = {"room": "unet_spec", "seed": 1, "of": 9, "only": "", "count": len(records), "seconds": 1}
    (tmp_path / "unet_spec.json").write_text(json.dumps(record | {"mutants": records}))
    monkeypatch.setattr(driver, "ROOT", tmp_path)
    monkeypatch.setattr(driver, "copied", lambda tree: tree)
    tried = []

    def kills(mutant, tests, tree, limit):
        tried.append((mutant, tests))
        return asdict(mutant) | {"tests": 1, "by": "t", "reason": "", "outcome": "killed"}

    monkeypatch.setattr(driver, "tried", kills)
    assert driver.main(["--room", "unet_spec", "--retry", "test_m.py", "--out", str(tmp_path)]) == 0
    assert tried == [(m, ["test_m.py"]) for m in found[1:]]
    after = json.loads((tmp_path / "unet_spec.json").read_text())
    assert (after["killed"], after["percent"]) == (len(records), 100.0)
    assert f"| {len(records)} of 9 |" in (tmp_path / "README.md").read_text()
    records[0]["outcome"] = "survived"
    (tmp_path / "unet_spec.json").write_text(json.dumps(after | {"mutants": records}))
    (tmp_path / "m.py").write_text("# changed\n")
    with pytest.raises(SystemExit, match="has changed since the record"):
        driver.main(["--room", "unet_spec", "--retry", "test_m.py", "--out", str(tmp_path)])


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("unet_spec/files.py", ["unet_spec.files"]),
        ("export/unet_export/predictor.py", ["unet_export.predictor"]),
        ("unet_spec/door.py", []),  # no examples
    ],
)
def test_the_examples_of_its_module_are_tried_on_a_mutant(path, names):
    assert driver.examples_of(path) == [f"parity_tests/docs/test_doctests.py::test_examples_run[{n}]" for n in names]
    assert set(names) <= set(test_doctests.modules())


def test_what_changes_nothing_has_a_reason_that_fits_the_code(tmp_path):
    """By the changed text, or by its whole line where the text is only a number."""
    for (path, old, new), reason in EQUIVALENT.items():
        text = (ROOT / path).read_text("utf-8")
        assert old in text, (path, old)
        assert len(old) > 10, f"{path}: {old} would excuse other mutants, too: give the line"
        assert reason
        found = [m for m in mutants(path, text) if m.new == new and old in (m.old, line_of(text, m))]
        assert found, (path, old, new)
        assert {driver.tried(m, ["x"], tmp_path, 1)["outcome"] for m in found} == {"equivalent"}


def line_of(text, mutant):
    return text.splitlines()[mutant.line - 1].strip()
