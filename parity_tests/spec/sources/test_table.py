"""The tables of names: one source for each checkpoint, a reader for each table, and a row that is wrong shows."""

from __future__ import annotations

from unet_spec import sources
from unet_spec.sources import table, transfer

from ...fixtures.sources.recorded import LARGE, RECORDED, arrays, error, imported


def test_a_row_that_is_wrong_shows_in_the_output(monkeypatch):
    """The way there and back is exact with any table that is one to one; only the output tells which it must be."""
    name = "monai_basicunet_2d"
    right = table.tables()
    swapped = tuple(
        (ours, tuple(t.replace("adn.N", "?").replace("down_{i}.convs.conv_{k}.?", "down_{i}.convs.conv_{1-k}.adn.N") if
                     "down" in t else t for t in theirs))
        for ours, theirs in right["monai-basicunet"].rows
    )  # fmt: skip
    import dataclasses

    wrong = dataclasses.replace(right["monai-basicunet"], rows=swapped)
    assert wrong.rows != right["monai-basicunet"].rows
    monkeypatch.setattr(transfer, "tables", lambda: {**right, "monai-basicunet": wrong})
    assert error(imported(name), name) > 1e-3


def test_each_recorded_checkpoint_is_recognised_as_one_source_only():
    for name in RECORDED:
        theirs = arrays(name) if name not in LARGE else dict.fromkeys(n for n, _ in RECORDED[name]["layout"])
        found = [source for source, t in table.tables().items() if not t.missing_marks(theirs)]
        assert len(found) == 1, (name, found)


def test_every_table_has_a_reader_and_a_name_in_the_command():
    from typing import get_args

    from unet_tools.conversion.formats import OURS, Format

    assert set(table.tables()) == set(sources.READERS) == set(get_args(Format)) - set(OURS)
