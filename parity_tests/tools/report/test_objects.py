"""Outlines of objects on the page: kinds, drawing, and shown images."""

import re

import numpy as np
import pytest

from unet_data import Dataset, instance_scores, object_outcomes
from unet_tools.report.objects import KINDS, ObjectPictures, drawing_of, object_pictures

from .reports import bare, text, tree

TRUTH = np.zeros((20, 30), np.int32)
GUESS = np.zeros((20, 30), np.int32)
TRUTH[1:5, 1:5], GUESS[1:5, 1:5] = 1, 11  # found
TRUTH[1:5, 8:12] = 2  # missed
GUESS[1:5, 15:19] = 13  # false
TRUTH[8:12, 1:9], GUESS[8:12, 1:5], GUESS[8:12, 5:9] = 4, 14, 15  # split
TRUTH[8:12, 12:16], TRUTH[8:12, 16:20], GUESS[8:12, 12:20] = 5, 6, 16  # merged
NOTHING = np.zeros_like(TRUTH)


def dataset_of(*truths, volume=False):
    shape = (3, *TRUTH.shape) if volume else TRUTH.shape
    images = tuple(np.full((*shape, 1), 90, np.uint16) for _ in truths)
    labels = tuple((np.asarray(t) > 0).astype(np.int32) for t in truths)
    names = tuple(f"image <{i}>" for i in range(len(truths)))
    return Dataset(images, labels, names, ("background", "cell"), "here", instances=tuple(truths))


def pictures(truths, guesses) -> ObjectPictures:
    return object_pictures(dataset_of(*truths), guesses, instance_scores(truths, guesses))


def boxes(drawing: str, kind: str, weight: str) -> list[list[int]]:
    """Bounding boxes (left, top, right, bottom) of the outlines of a kind, from the path itself."""
    found = []
    path = re.search(rf'id="x-{kind}-{weight}" [^>]*? d="([^"]*)"', drawing)
    for ring in path[1].split("M")[1:] if path else ():
        x, y = map(int, ring.split("h")[0].split("v")[0].split())
        points = [(x, y)]
        for direction, step in re.findall(r"([hv])(-?\d+)", ring):
            x, y = (x + int(step), y) if direction == "h" else (x, y + int(step))
            points.append((x, y))
        xs, ys = zip(*points, strict=True)
        found.append([min(xs), min(ys), max(xs), max(ys)])
    return found


@pytest.mark.parametrize(
    ("kind", "weight", "expected"),
    [
        ("found", "thick", [[1, 1, 5, 5]]),
        ("missed", "thick", [[8, 1, 12, 5]]),
        ("false", "thick", [[15, 1, 19, 5]]),
        ("split", "thick", [[1, 8, 9, 12]]),
        ("split", "thin", [[1, 8, 5, 12], [5, 8, 9, 12]]),
        ("merged", "thick", [[12, 8, 20, 12]]),
        ("merged", "thin", [[12, 8, 16, 12], [16, 8, 20, 12]]),
    ],
)
def test_each_kind_outlines_its_objects(kind, weight, expected):
    example = pictures([TRUTH], [GUESS]).examples[0]
    assert boxes(drawing_of(example, "x"), kind, weight) == expected


def test_holes_are_outlined_and_letters_lie_in_their_object():
    truth = NOTHING.copy()
    truth[2:9, 2:9] = 3
    truth[4:6, 4:7] = 0
    drawing = drawing_of(pictures([truth], [NOTHING]).examples[0], "x")
    assert boxes(drawing, "missed", "thick") == [[2, 2, 9, 9], [4, 4, 7, 6]]
    x, y = map(float, re.search(r'<text x="([\d.]+)" y="([\d.]+)" class="missed"', drawing).groups())
    assert truth[int(y), int(x)] == 3


def test_kinds_differ_without_colour():
    assert len({kind.dash for kind in KINDS}) == len(KINDS)
    letters = [kind.letter for kind in KINDS if kind.name != "found"]
    assert all(letters)
    assert len(set(letters)) == len(letters)


def test_worst_median_and_best_image_are_shown():
    poor = np.roll(TRUTH, 2, axis=0)
    shown = pictures([TRUTH, TRUTH, TRUTH, NOTHING], [poor, TRUTH, GUESS, NOTHING])  # the last one has no score
    assert [(e.rank, e.name) for e in shown.examples] == [
        ("worst", "image <0>"), ("median", "image <2>"), ("best", "image <1>")
    ]  # fmt: skip
    total = [object_outcomes(TRUTH, guess).counts for guess in (poor, TRUTH, GUESS)]
    assert shown.counts == {name: sum(each[name] for each in total) for name in total[0]}
    assert shown.images == 4
    five = [np.where(np.isin(TRUTH, range(1, most)), TRUTH, 0) for most in (5, 2, 7, 3, 6)]  # 3, 1, 5, 2, 4 objects
    assert [e.name for e in pictures([TRUTH] * 5, five).examples] == ["image <1>", "image <0>", "image <2>"]
    assert [e.rank for e in pictures([TRUTH, TRUTH], [GUESS, TRUTH]).examples] == ["worst", "best"]
    assert [e.rank for e in pictures([TRUTH], [GUESS]).examples] == ["only"]
    none = pictures([NOTHING], [NOTHING])
    assert (none.examples, set(none.counts.values())) == ([], {0})


def test_of_a_volume_a_plane_is_shown():
    truth = np.stack([TRUTH, NOTHING, NOTHING])
    guess = np.stack([TRUTH, GUESS, NOTHING])
    found = object_pictures(dataset_of(truth, volume=True), [guess], {})
    example = found.examples[0]
    assert example.image.shape == example.truth.shape == TRUTH.shape
    assert example.part == "plane 1"
    np.testing.assert_array_equal(example.guess, GUESS)
    assert found.counts == object_outcomes(truth, guess).counts


def test_of_a_large_image_the_middle_is_shown():
    truth = np.zeros((1100, 60), np.int32)
    truth[:10, :10] = 1
    image = np.zeros((1100, 60, 1), np.uint8)
    data = Dataset((image,), ((truth > 0).astype(np.int32),), ("a",), ("b", "c"), "here", instances=(truth,))
    example = object_pictures(data, [truth], {}).examples[0]
    assert example.image.shape == (1024, 60)
    assert example.part == "the middle 1024 × 60 pixels"
    assert "<path" not in drawing_of(example, "x")


def test_the_page():
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    from unet_tools.report.page import render

    report = bare(objects=pictures([TRUTH, TRUTH, TRUTH], [GUESS, TRUTH, NOTHING]))
    page = render(report)
    root, said = tree(page), text(page)
    assert "Worst: image <2>" in said
    assert "Median: image <0>" in said
    assert "Of 3 images together: ap@0.50" in said
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(set(ids)) == len(ids)
    links = {e.get(key) for e in root.iter() for key in ("href",) if (e.get(key) or "").startswith("#")}
    assert {link[1:] for link in links} <= set(ids)
    assert {"#objects-1", "#objects-2", "#objects-3", "#objects"} <= links
    outside = [e.get("href") for e in root.iter() if e.get("href") and e.get("href")[:1] != "#"]
    assert all(link.startswith("data:image/png;base64,") for link in outside)
    assert "<script" not in page
    labels = [e.get("aria-label") or "" for e in root.iter() if e.get("role") == "img"]
    assert "Objects on the image: 1 found, 1 missed, 1 false, 1 split, 1 merged" in labels
    rows = [" ".join(e.itertext()) for e in root.iter("{http://www.w3.org/1999/xhtml}li")]
    assert [row.split()[-2:] for row in rows[5:10]] == [[kind.name, "1"] for kind in KINDS]
    saved = report.to_dict()["objects"]
    assert saved["counts"] == {"found": 1 + 5, "missed": 1 + 5, "false": 1, "split": 1, "merged": 1}
    assert saved["images"][0] == {
        "rank": "worst", "name": "image <2>", "pq": 0.0,
        "counts": {"found": 0, "missed": 5, "false": 0, "split": 0, "merged": 0},
    }  # fmt: skip
    assert 'id="objects"' not in render(bare())
