"""Each kind of change, and a driver that tells a test that sees from one that does not."""

import subprocess

import pytest

from .. import mutation
from ..docs import test_doctests
from . import __main__ as driver
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


def test_the_tests_of_a_mutant_are_those_that_run_its_statement_or_import_its_module():
    inside, constant, lost = (mutants("p/m.py", text)[0] for text in ("\nf(\n  -a)", "A = 1", "\n\n\n-a"))
    lines = {"p/m.py": {1: [], 2: ["b/test_o.py::x", "b/test_m.py::z"]}}
    assert driver.tests_of(inside, lines) == ["b/test_m.py::z", "b/test_o.py::x"]
    assert driver.tests_of(constant, lines) == ["b/test_m.py::z", "b/test_o.py::x"]
    assert driver.tests_of(lost, lines) == []


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
