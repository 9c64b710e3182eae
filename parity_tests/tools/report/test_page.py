"""The report's page: well-formed, self-contained, reproducible; hostile and missing parts."""

import dataclasses
import json
import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from unet_spec import InputError
from unet_tools.report import Example, write_report
from unet_tools.report.page import render, tiles

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
from PIL import Image

from .reports import HOSTILE, bare, check, example, text, tree


def test_page_is_well_formed_and_holds_the_numbers(report, page):
    printed = text(page)
    for number in (
        "120,690", "235.7 M", "235,671,328",
        "94.13%", "78.03%", "88.71%", "25.00%", "1.3e-6", "3.1e-15", "99.9999%", "1e-12",
        "4.2e-7", "509 × 701", "604 × 796", "24 tiles of 220 × 220", "1.91 s", "2.5 MB (2,481,152 bytes)", "12.8 s",
        "8.0, 8.6", "min: 1 × 1 × 92 × 92", "float32: 31", "0.41 s", "2 min 02 s", "2 min 03 s", "0.7.2", "2 cores",
        "92–100 pixels", "92 + 8 k", "44 pixels a side; skips are cropped by 4, 16, 40", "218 × 218 × 8", "21,233,664",
        "no NVIDIA GPU here", "ONNX Runtime float32; 2 of 2 checks pass, 1 not run", "positive: cell",
        "unet demo --out 'a folder' --seed 7", "learning_rate 0.002 augmentation.mirror yes ignore –",
    ):  # fmt: skip
        assert number in printed, number
    layers = [e for e in tree(page).iter() if e.get("id") == "layers"]
    assert len(list(layers[0].iter("{http://www.w3.org/1999/xhtml}tr"))) == len(report.facts["layers"]) + 2


def test_a_threshold_is_reported_with_its_score():
    scores = {"pixel_accuracy": 0.9, "pixel_error": 0.1, "v_rand": 0.8, "v_rand_threshold": 0.95, "v_info": 0.7}
    found = {tile["name"]: tile["note"] for tile in tiles(bare(scores=scores))}
    assert found["V_Rand"] == "on validation images, at the threshold 0.95"
    assert found["V_Info"] == found["Pixel accuracy"] == "on validation images"
    assert not [name for name in found if "threshold" in name or "error" in name]


def test_page_needs_nothing_from_outside(page):
    root = tree(page)
    names = {e.tag.rpartition("}")[2] for e in root.iter()}
    assert not names & {"script", "link", "iframe", "object", "embed", "base"}
    for element in root.iter():
        for key, value in element.attrib.items():
            assert not key.startswith("on")
            if key.rpartition("}")[2] in ("href", "src"):
                assert value.startswith(("#", "data:image/png;base64,")), value
    assert not re.search(r"url\((?!#)", page)
    assert set(re.findall(r"https?://[^\"' )]+", page)) <= {
        "http://www.w3.org/1999/xhtml", "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
    }  # fmt: skip
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_ids_are_unique_and_every_link_has_its_target(page):
    root = tree(page)
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    links = {v[1:] for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")}
    links |= set(re.findall(r"url\(#([^)]+)\)", page))
    assert links <= set(ids)


def test_colours_of_figures_follow_the_page(page):
    figures = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert "var(--ink)" in figures
    assert set(re.findall(r"#[0-9a-f]{6}\b", figures)) <= {"#000000", "#ffffff"}
    defined = set(re.findall(r"(--\w+):", page))
    assert set(re.findall(r"var\((--\w+)\)", page)) <= defined


def test_verdicts_are_words(report, page):
    assert "Every parity check that ran passed." in text(page)
    assert "not run" in text(page)
    failed = bare(parity=[*report.parity, check("PyTorch", "float32", math.nan, 1e-5, False)])
    printed = text(render(failed))
    assert "A parity check failed." in printed
    assert "FAIL" in printed
    assert "not finite PyTorch float32; 2 of 3 checks pass" in printed
    assert report.passed is True
    assert failed.passed is False
    assert bare(parity=report.parity[2:]).passed is None


def test_hostile_strings_are_only_text(report, tmp_path):
    parity = [check(HOSTILE, HOSTILE, 1e-6, 1e-5, True, HOSTILE)]
    hostile = dataclasses.replace(
        report, title=HOSTILE, command=HOSTILE, hardware=HOSTILE, parity=parity, versions={HOSTILE: HOSTILE},
        engine={HOSTILE: HOSTILE}, seconds={HOSTILE: 1.0}, scores={HOSTILE: 0.5}, class_names=(HOSTILE, HOSTILE),
        examples=[dataclasses.replace(example(), name=HOSTILE)],
        tiling={"worst_deviation": {HOSTILE: 0.0}},
    )  # fmt: skip
    write_report(hostile, tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert not re.search("<script", page, re.IGNORECASE)
    assert "alert('x')" in text(page)
    json.loads((tmp_path / "report.json").read_text("utf-8"))


def test_json_is_strict(report, tmp_path):
    def refuse(constant):
        raise AssertionError(constant)

    log = [{"step": np.int64(1), "loss": math.nan}, {"step": 2, "loss": np.float32(0.5)}, {"step": 3, "loss": math.inf}]
    write_report(dataclasses.replace(report, log=log), tmp_path)
    values = json.loads((tmp_path / "report.json").read_text("utf-8"), parse_constant=refuse)
    assert [record["loss"] for record in values["log"]] == [None, 0.5, None]
    assert values["parity"][1]["worst_relative"] == 1.3e-6
    assert values["facts"]["parameters"] == 120690
    assert values["passed"] is True
    assert values["schema"] == 1
    (only,) = values["examples"]
    assert only["shape"] == [40, 56]
    assert set(only) == {"name", "shape", "error"}
    assert 0 < only["error"] < 1


@pytest.mark.slow
def test_same_report_gives_the_same_files(report, tmp_path):
    write_report(report, tmp_path / "a")
    write_report(report, tmp_path / "b")
    for name in ("report.html", "report.json", "report.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_files_are_whole_or_absent(tmp_path, monkeypatch):
    write_report(bare(), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json", "report.png"]
    before = (tmp_path / "report.html").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match=r"cannot write the report to .*: No space left"):
        write_report(bare(command="another"), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json", "report.png"]
    assert (tmp_path / "report.html").read_bytes() == before


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="cannot write the report"):
        write_report(bare(), tmp_path / "taken")


ODD = pytest.mark.parametrize(
    "changes",
    [
        {},
        {"facts": {}},
        {"examples": [dataclasses.replace(example(), label=None, probability=None)]},
        {"examples": [example(3)]},
        {"examples": [example(classes=12)]},
        {"examples": [example(size=(90, 12))]},
        {"examples": [example(size=(12, 90))], "log": [{"step": 0, "loss": 0.5}]},
        {"log": [{"step": 1, "loss": math.nan}]},
        {"log": [{"step": 5, "iou": 0.5}, {"step": 9, "iou": math.nan}], "scores": {"iou": math.nan}},
        {"parity": [check("JAX", "float32", 0.0, 1e-5, True)]},
        {"parity": [check("JAX", "float32", math.inf, 1e-5, False), {"runtime": "bare", "ok": None}]},
        {"tiling": {"tiles": 4, "image_size": (5, 7), "tile": (3, 3), "seconds": {"JAX": math.nan}}},
        {"seconds": {"nothing": 0.0}},
    ],
)  # fmt: skip


@ODD
def test_parts_may_be_missing_or_odd(changes):
    page = render(bare(**changes))
    tree(page)
    sections = {"examples", "parity", "tiling"} & set(changes)
    assert {name for name in ("examples", "parity", "tiling") if f'<section id="{name}">' in page} == sections


@pytest.mark.slow
@ODD
def test_the_picture_of_odd_parts_has_its_width(changes, tmp_path):
    write_report(bare(**changes), tmp_path)
    with Image.open(tmp_path / "report.png") as picture:
        assert picture.width == 1600


def test_large_pictures_are_thinned():
    shown = Example("x", np.zeros((30, 2500), np.uint8), None, np.zeros((30, 2500), np.uint8))
    page = render(bare(examples=[shown]))
    assert len(page) < 400_000


@pytest.mark.parametrize("module", ["matplotlib", "jinja2"])
def test_missing_library_is_one_line(module, report, tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == module]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"^{module} is not installed; pip install 'unet-twins\[report\]'$") as caught:
        write_report(report, tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_import_is_cheap_and_pyplot_stays_unused(tmp_path):
    code = (
        "import sys; from unet_tools.report import Report, write_report\n"
        "print([m for m in ('matplotlib', 'jinja2', 'PIL') if m in sys.modules])\n"
        "write_report(Report('t', 'c', {}, [{'step': 1, 'loss': 2.0}]), sys.argv[1])\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["[]", "False"]


def test_the_verdict_stands_before_the_numbers_and_classes_have_a_table():
    classes = [{"name": HOSTILE, "iou": 0.1234, "dice": math.nan, "share": 0.5, "predicted": 0.0}]
    page = render(bare(verdict=["better than <nothing>", "next: unet predict"], scores={"iou": 0.5}, classes=classes))
    [verdict] = [e for e in tree(page).iter() if e.get("id") == "verdict"]
    assert " ".join(" ".join(verdict.itertext()).split()) == "Better than <nothing> Next: unet predict"
    assert page.index('id="verdict"') < page.index('class="tiles"') < page.index('id="classes"')
    [table] = [e for e in tree(page).iter() if e.get("id") == "classes"]
    assert "12.34% – 50.00% 0.00%" in " ".join(" ".join(table.itertext()).split())
    assert 'id="verdict"' not in render(bare())
