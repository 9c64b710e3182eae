"""Each kind of input is read rightly, or refused in one line; and a wrong one is noticed."""

from dataclasses import replace

import pytest

from . import labelled, single
from .table import KINDS, Row, lines, run


@pytest.mark.parametrize("number", range(len(KINDS)), ids=lambda n: f"{n:02d} {KINDS[n].name}")
def test_every_kind_is_right(number, tmp_path):
    for package in KINDS[number].needs:
        pytest.importorskip(package)
    row = run(KINDS[number], tmp_path / "new", seed=number)
    assert row.right, row


def test_what_is_wrong_is_noticed(tmp_path):
    kind = next(kind for kind in KINDS if kind.make is labelled.dangling_links)
    assert not run(replace(kind, words=("never said",)), tmp_path / "words").right
    assert not run(replace(kind, code=2), tmp_path / "code").right
    geo = next(kind for kind in KINDS if kind.make is single.georeference)
    assert not run(replace(geo, same=lambda *_: False), tmp_path / "place").right


def test_the_table_says_which_are_wrong():
    rows = [Row("a", 0, "fit | for training", True), Row("b", 1, "x", False)]
    assert list(lines(rows))[2:] == ["| a | 0 | fit / for training | right |", "| b | 1 | x | WRONG |"]
