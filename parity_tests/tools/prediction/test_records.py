"""The record of an image, and the lines for people."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from unet_data import ObjectSettings
from unet_data.inference.predict_file import PredictResult
from unet_spec import InputError
from unet_tools.prediction.objects import describe, files_of, left_to_do
from unet_tools.prediction.records import image_record, line_of, line_of_all

RESULT = SimpleNamespace(
    shape=(20, 3000, 40), seconds=2.0, pixels=2_400_000, tiles=9, computed=4, peak=500, before=200, finished=True,
    shares=(0.25, 0.75), objects=None,
    plan=SimpleNamespace(tiles=SimpleNamespace(tile=(8, 64, 48), exact=True), redundancy=1.5, memory=77),
)  # fmt: skip


def record(**changes: Any) -> dict[str, Any]:
    result = cast(PredictResult, SimpleNamespace(**vars(RESULT) | changes))
    return image_record(Path("a.tif"), Path("o.tif"), result, ("membrane", "cell"))


def test_the_record_of_an_image():
    assert record() == {
        "image": "a.tif", "out": "o.tif", "shape": [20, 3000, 40], "seconds": 2.0, "megapixels_per_second": 1.2,
        "tiles": 9, "computed": 4, "tile": [8, 64, 48], "exact": True, "redundancy": 1.5, "predicted_bytes": 77,
        "measured_bytes": 300, "resident_bytes": 500, "finished": True, "classes": {"membrane": 0.25, "cell": 0.75},
    }  # fmt: skip
    assert record(seconds=0.0)["megapixels_per_second"] == pytest.approx(2.4e9)  # a clock that stood still
    settings = ObjectSettings()
    found = SimpleNamespace(counts={"cell": 3}, settings=settings, remarks=("one",))
    more = {"objects": {"cell": 3}, "object_settings": settings.to_dict(), "remarks": ["one"]}
    assert record(objects=found) == record() | more


def test_the_line_of_an_image_or_of_a_part():
    line = "a.tif → o.tif (20x3000x40, onnx, 2.0 s, 1.20 megapixels per second): membrane 25.0%, cell 75.0%"
    assert line_of(record(), "onnx", None) == line
    assert line_of(record(shares=()), "onnx", None) == line.partition(": membrane")[0]
    assert line_of(record(finished=False), "onnx", "2/3") == (
        "a.tif: part 2 of 3, 4 of 9 tiles computed (onnx, 2.0 s, 1.20 megapixels per second); when all parts are done, "
        "the same command without --shard joins them"
    )


def test_the_line_of_several_images():
    records = [record(), record(shares=(0.75, 0.25)), {"image": "c", "error": "c is damaged"}, record(shares=())]
    line = "3 of 4 images → out (jax, 1.2 s): membrane 50.0%, cell 50.0%"
    assert line_of_all(records, Path("out"), "jax", 1.23, None) == line
    assert line_of_all(records[2:3], Path("out"), "jax", 1.23, None) == "0 of 1 images → out (jax, 1.2 s)"
    parts = [*records, record(finished=False)]
    joined = "4 images: part 1 of 2; the same command without --shard joins the parts (1.2 s)"
    assert line_of_all(parts, Path("out"), "jax", 1.23, "1/2") == joined


@pytest.mark.parametrize(
    ("stored", "changed", "origin"),
    [
        (True, False, "stored with the network"),
        (True, True, "stored with the network, with your changes"),
        (False, False, "the defaults, not tuned for this network"),
    ],
)
def test_the_objects_of_a_file_are_counted_and_their_settings_have_an_origin(stored, changed, origin):
    settings = ObjectSettings()
    of = {"objects": {"cell": 1234, "hole": 1}, "object_settings": settings.to_dict(), "remarks": ["one", "two"]}
    first, *rest = describe(of, stored, changed)
    assert first == f"1,235 objects (1,234 cell, 1 hole), separated by {settings.described()} ({origin})"
    assert rest == ["one", "two"]


def test_of_several_images_each_has_files_of_its_name():
    from unet_data import PredictSettings

    settings = PredictSettings("objects", table=Path("out/t.csv"), outlines=Path("o.geojson"))
    a, b = Path("out/a.tif"), Path("out/b.tif")
    of_several, of_one = files_of(settings, [a, b]), files_of(settings, [a])
    assert (of_several[a].table, of_several[b].outlines) == (Path("out/t-a.csv"), Path("o-b.geojson"))
    assert of_one == {a: settings}
    plain = PredictSettings()
    assert files_of(plain, [a, b]) == {a: plain, b: plain}
    with pytest.raises(InputError, match=r"a.tif and a.png would both have the file out/t-a.csv; rename one"):
        files_of(settings, [a, b, Path("out/a.png")])


def test_what_is_left_to_do_lacks_its_result_but_not_a_part_of_it(tmp_path):
    from unet_data import PredictSettings

    files = [(Path("in/a.tif"), tmp_path / "a.tif"), (Path("in/b.tif"), tmp_path / "b.tif")]
    own = files_of(PredictSettings("objects", table=tmp_path / "t.csv"), [target for _, target in files])
    (tmp_path / "a.tif").touch()
    (tmp_path / "t-a.csv").touch()
    assert left_to_do(files, own) == files[1:]
    (tmp_path / "t-a.csv").unlink()
    with pytest.raises(InputError, match=r"a.tif exists without .*t-a.csv: delete it to make both"):
        left_to_do(files, own)
