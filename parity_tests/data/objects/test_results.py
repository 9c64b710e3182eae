"""The files of the objects of several pages: which picture is measured, how memory is shared, what is counted."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from unet_data.io.facts import FileFacts
from unet_data.objects import results
from unet_data.objects.settings import ObjectSettings


@pytest.mark.parametrize("spacing", [None, (3.0, 0.5, 0.25)])
def test_each_page_is_measured_on_its_picture_and_its_rows_are_numbered(spacing, tmp_path, monkeypatch):
    """Two pictures with two maps each."""
    monkeypatch.setattr(
        results, "write_labels", lambda path, pages, note, facts: stored.append((path, len(pages), note))
    )
    monkeypatch.setattr(results, "write_table", lambda path, rows: stored.append((path, list(rows))))
    monkeypatch.setattr(results, "with_units", lambda table, size, unit: table | {"size": size, "unit": unit})
    made, measured, stored = [], [], []

    def label_image(window, image, classes, settings, folder, budget, done):
        made.append((window, image, classes, folder, budget))
        objects = SimpleNamespace(classes=np.array([1, 2, 2][: len(made) - 1], int))
        return SimpleNamespace(objects=objects, budget=1001)

    def table(page, picture, names):
        measured.append((picture.name, page.budget))
        return {"object": np.arange(len(page.objects.classes)), "class": np.array(names)[page.objects.classes]}

    monkeypatch.setattr(results, "label_image", label_image)
    monkeypatch.setattr(results, "_table", table)
    monkeypatch.setattr(results, "resident", lambda: 300)
    maps = [SimpleNamespace(shape=(8, 9, 3), spatial_dims=2, window=number) for number in range(4)]
    facts = FileFacts(spacing=spacing, unit="um" if spacing else "")
    pictures = [SimpleNamespace(name=name, facts=facts) for name in "ab"]
    found = results.write_objects(
        maps, tmp_path, ObjectSettings(), results.ObjectFiles(Path("l.tif"), Path("t.csv")), ("none", "cell", "edge"),
        Path("a.tif"), pictures, memory=1000,
    )  # fmt: skip
    assert made == [(number, (8, 9), 3, tmp_path / f"{number:05d}", 700) for number in range(4)]
    assert measured == [("a", 250), ("a", 250), ("b", 250), ("b", 250)]
    (labels, count, note), (path, rows) = stored
    assert (labels, count, path) == (Path("l.tif"), 4, Path("t.csv"))
    assert note.startswith(f"; finished parts are kept in {tmp_path}")
    assert [row["image"].tolist() for row in rows] == [[], [1], [2, 2], [3, 3, 3]]
    assert [next(iter(row)) for row in rows] == ["image"] * 4
    assert found.counts == {"cell": 3, "edge": 3}
    if spacing is None:
        assert found.remarks == ("the file does not state its pixel size: the table is in pixels (--pixel-size)",)
        assert "size" not in rows[0]
    else:
        assert found.remarks == ()
        assert (rows[0]["size"], rows[0]["unit"]) == ((0.5, 0.25), "um")


def test_a_volume_without_a_distance_of_planes_is_measured_in_voxels(tmp_path, monkeypatch):
    """Volumes of the size of a plane's pixels would be wrong by the distance."""
    objects, rows = SimpleNamespace(classes=np.array([1])), []
    monkeypatch.setattr(results, "label_image", lambda *_: SimpleNamespace(objects=objects, budget=7))
    monkeypatch.setattr(results, "write_labels", lambda *_: None)
    monkeypatch.setattr(results, "_table", lambda *_: {"object": np.array([1]), "area": np.array([8])})
    monkeypatch.setattr(results, "write_table", lambda path, found: rows.extend(found))
    maps = [SimpleNamespace(shape=(2, 8, 9), spatial_dims=3, window=None)]
    pictures = [SimpleNamespace(facts=FileFacts(spacing=(0.5, 0.5), unit="um"))]
    files = results.ObjectFiles(Path("l.tif"), Path("t.csv"))
    found = results.write_objects(maps, tmp_path, ObjectSettings(), files, ("none", "cell"), Path("a"), pictures)
    assert found.remarks[0].startswith("the file does not state its pixel size along z: the table is in pixels")
    assert list(rows[0]) == ["object", "area"]


def test_the_border_class_is_no_object(tmp_path, monkeypatch):
    objects = SimpleNamespace(classes=np.array([1, 1, 2]))
    monkeypatch.setattr(results, "label_image", lambda *_: SimpleNamespace(objects=objects, budget=7))
    monkeypatch.setattr(results, "write_labels", lambda *_: None)
    maps = [SimpleNamespace(shape=(8, 9), spatial_dims=2, window=None)]
    files = results.ObjectFiles(Path("l.tif"))
    pictures = [SimpleNamespace(facts=FileFacts())]
    for border, counts in ((None, {"cell": 2, "edge": 1}), (2, {"cell": 2})):
        settings = ObjectSettings(border=border)
        found = results.write_objects(maps, tmp_path, settings, files, ("none", "cell", "edge"), Path("a"), pictures)
        assert (found.counts, found.settings, found.remarks) == (counts, settings, ())
