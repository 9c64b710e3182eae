"""The report of a run: a page that is whole and safe, strict JSON, a picture of the right size."""

import dataclasses
import io
import json
import math
import os
import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from unet_data import membranes
from unet_spec import InputError, preset
from unet_spec.summary import facts
from unet_tools.report import Example, Report, plot_network, write_report
from unet_tools.report.model import plain
from unet_tools.report.page import render, tiles
from unet_tools.report.pixels import FALSE_NEGATIVE, FALSE_POSITIVE, UNLABELLED, color_classes, color_errors, panels
from unet_tools.report.plots import series, short

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
Image = pytest.importorskip("PIL.Image")

HOSTILE = "</title><script>alert('x')</script> & $1 \\frac 漢字 \x00 \udcff"
SMALL = preset("paper", widths=(8, 16, 32, 64))


def example(channels: int = 1, classes: int = 2, size: tuple[int, int] = (40, 56)) -> Example:
    data = membranes(1, size, 3, channels=channels)
    assert data.labels is not None
    image, label = data.images[0], data.labels[0]
    prediction = np.roll(label, 1, axis=0)
    prediction[:5, :5] = classes - 1
    return Example("tile <1>", image[..., 0] if channels == 1 else image, label, prediction, label.astype(np.float32))


def check(runtime: str, dtype: str, worst: float | None, bound: float, ok: bool | None, note: str = "") -> dict:
    rms = None if worst is None else worst / 9
    return {
        "runtime": runtime, "dtype": dtype, "compared_with": "NumPy float64", "worst_relative": worst,
        "rms_relative": rms, "label_agreement": None if worst is None else 0.9999991, "bound": bound, "ok": ok,
        "note": note,
    }  # fmt: skip


@pytest.fixture(scope="module")
def report() -> Report:
    log: list[dict] = [{"step": s, "loss": 0.7 / s, "steps_per_second": 5.0} for s in range(1, 80)]
    log += [{"step": s, "pixel_accuracy": 0.9, "iou": 0.8, "dice": 0.89, "v_rand": 0.61} for s in (40, 79)]
    return Report(
        title="A run",
        command="unet demo --out 'a folder' --seed 7",
        facts=facts(SMALL, (220, 220)),
        log=log,
        scores={"pixel_accuracy": 0.9413, "iou": 0.8871, "dice": np.float32(0.25), "baseline_pixel_accuracy": 0.7803},
        examples=[example()],
        parity=[
            check("JAX", "float64", 3.1e-15, 1e-12, True),
            check("ONNX Runtime", "float32", 1.3e-6, 1e-5, True),
            check("TensorRT-RTX", "float32", None, 1e-4, None, "no NVIDIA GPU here"),
        ],
        tiling={
            "image_size": [509, 701], "canvas": [604, 796], "tile": [220, 220], "tiles": 24, "bound": 1e-5,
            "worst_deviation": {"JAX": 4.2e-7, "ONNX Runtime": 0.0}, "seconds": {"JAX": 1.91},
        },
        engine={"backend": "tensorrt_rtx", "bytes": 2481152, "seconds": 12.81, "compute_capabilities": ["8.0", "8.6"],
                "profile": {"min": [1, 1, 92, 92]}, "dtypes": {"float32": 31}, "note": None},
        settings={"learning_rate": 0.002, "augmentation.mirror": True, "ignore": None},
        seconds={"data": 0.41, "train": 122.3},
        versions={"jax": "0.7.2"},
        hardware="2 cores",
        class_names=("membrane", "cell"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(report) -> str:
    return render(report)


def tree(page: str) -> ElementTree.Element:
    """The page as XML, which is stricter than HTML: every element closed, every attribute quoted, no stray < or &."""
    assert page.startswith("<!DOCTYPE html>\n")
    return ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))


def text(page: str) -> str:
    return " ".join(" ".join(tree(page).itertext()).split())


def bare(**changes) -> Report:
    return Report(**{"title": "bare", "command": "unet demo", "facts": facts(SMALL, (220, 220)), **changes})


def test_page_is_well_formed_and_holds_the_numbers(report, page):
    told = text(page)
    for number in (
        "120,690", "235.7 M", "235,671,328",
        "94.13%", "78.03%", "88.71%", "25.00%", "1.3e-6", "3.1e-15", "99.9999%", "1e-12",
        "4.2e-7", "509 × 701", "604 × 796", "24 tiles of 220 × 220", "1.91 s", "2.5 MB (2,481,152 bytes)", "12.8 s",
        "8.0, 8.6", "min: 1 × 1 × 92 × 92", "float32: 31", "0.41 s", "2 min 02 s", "2 min 03 s", "0.7.2", "2 cores",
        "92–100 pixels", "92 + 8 k", "44 pixels a side; skips are cropped by 4, 16, 40", "218 × 218 × 8", "21,233,664",
        "no NVIDIA GPU here", "ONNX Runtime float32; 2 of 2 checks pass, 1 not run", "positive: cell",
        "unet demo --out 'a folder' --seed 7", "learning_rate 0.002 augmentation.mirror yes ignore –",
    ):  # fmt: skip
        assert number in told, number
    layers = [e for e in tree(page).iter() if e.get("id") == "layers"]
    assert len(list(layers[0].iter("{http://www.w3.org/1999/xhtml}tr"))) == len(report.facts["layers"]) + 2


def test_a_threshold_is_told_with_its_score():
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
    told = text(render(failed))
    assert "A parity check failed." in told
    assert "FAIL" in told
    assert "not finite PyTorch float32; 2 of 3 checks pass" in told
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
    with pytest.raises(InputError, match="cannot hold a set"):
        plain({"a": {1}})


def test_picture_is_1600_pixels_wide(report, tmp_path):
    path = write_report(report, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "report.html"
    with Image.open(path.with_name("report.png")) as picture:
        picture.load()
        assert picture.width == 1600
        assert 1000 < picture.height < 2400
        assert len(picture.convert("RGB").getcolors(2**24)) > 100


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


@pytest.mark.parametrize(
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
def test_parts_may_be_missing_or_odd(changes, tmp_path):
    write_report(dataclasses.replace(bare(), **changes), tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    tree(page)
    sections = {"examples", "parity", "tiling"} & set(changes)
    assert {name for name in ("examples", "parity", "tiling") if f'<section id="{name}">' in page} == sections
    with Image.open(tmp_path / "report.png") as picture:
        assert picture.width == 1600


@pytest.mark.parametrize("levels", range(2, 8))
def test_network_of_any_depth(levels):
    config = preset("paper", widths=(8, 16, 32, 64, 128, 256, 512)[:levels])
    size = config.geometry.grid().above(800)
    told = drawn(plot_network(facts(config, (size, size))))
    assert [f"crop {n}" in told for n in config.geometry.crops()] == [True] * (levels - 1)
    assert f"{size}²" in told
    assert told.count("16") >= 3  # encoder.1 twice; the concatenation of decoder's last level
    assert f"{config.graph.parameter_count:,} parameters" in told


def test_network_of_one_level():
    values = facts(preset("paper", widths=(8, 16)), (60, 60))
    values["layers"] = [r for r in values["layers"] if r["name"].startswith(("input", "encoder.0", "head"))]
    assert "60²" in drawn(plot_network(values))


@pytest.mark.parametrize(
    ("name", "size", "changes", "expected"),
    [
        ("article", (572, 572), {}, ["pad 8", "conv 3×3 valid + batch norm + ReLU"]),
        ("same-bilinear", (64, 96), {}, ["64\n×96", "upsample ×2 linear, aligned corners", "copy"]),
        ("same", (32, 32, 32), {"spatial_dims": 3}, ["32³", "up-conv 2×2×2", "conv 3×3×3 + batch norm + ReLU"]),
    ],
)
def test_network_of_other_kinds(name, size, changes, expected):
    told = drawn(plot_network(facts(preset(name, **changes), size)))
    assert set(expected) <= set(told)


def drawn(figure) -> list[str]:
    """The texts of a figure, once it has been drawn without overlap of any two of them or any beyond its edge."""
    figure.savefig(io.BytesIO(), format="png")
    texts = [t for t in figure.axes[0].texts if t.get_text()]
    boxes = [t.get_window_extent() for t in texts]
    for i, (a, one) in enumerate(zip(boxes, texts, strict=True)):
        assert a.x0 >= 0, one
        assert a.y0 >= 0, one
        assert a.x1 <= figure.bbox.x1, one
        assert a.y1 <= figure.bbox.y1, one
        for b, other in list(zip(boxes, texts, strict=True))[i + 1 :]:
            apart = a.x1 <= b.x0 + 2 or b.x1 <= a.x0 + 2 or a.y1 <= b.y0 + 6 or b.y1 <= a.y0 + 6
            assert apart, (one.get_text(), other.get_text())
    return [t.get_text() for t in texts]


def test_network_that_is_no_u():
    with pytest.raises(InputError, match=r"no layers called encoder\.0"):
        plot_network({"layers": [{"name": "conv", "kind": "conv", "detail": "", "output": [1, 1, 1]}]})


def test_errors_have_their_colours():
    label, prediction = np.array([[0, 0, 1, 1, -1]]), np.array([[0, 1, 0, 1, 1]])
    shown = Example("x", np.zeros((1, 5), np.uint8), label, prediction)
    picture = color_errors(shown)[0]
    assert picture[1].tolist() == FALSE_POSITIVE.tolist()
    assert picture[2].tolist() == FALSE_NEGATIVE.tolist()
    assert picture[0].tolist() == picture[3].tolist() == picture[4].tolist() == [185] * 3
    assert shown.error == 0.5
    assert color_classes(label)[0, 4].tolist() == UNLABELLED.tolist()
    assert all(p.shape == (1, 5, 3) and p.dtype == np.uint8 for p in panels(shown).values())
    assert math.isnan(dataclasses.replace(shown, label=np.full((1, 5), -1)).error or 0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image": np.zeros((4, 4), np.float32)}, "image is float32"),
        ({"image": np.zeros((4, 4, 2), np.uint8)}, r"give uint8 \(H, W\) or \(H, W, 3\)"),
        ({"label": np.zeros((4, 5), int)}, r"label is int64 \(4, 5\); give integers \(4, 4\)"),
        ({"prediction": np.zeros((4, 4))}, "prediction is float64"),
        ({"probability": np.zeros((4, 4), int)}, "probability is int64 .* give floats"),
    ],
)
def test_examples_are_checked(change, told):
    good = {"image": np.zeros((4, 4), np.uint8), "label": None, "prediction": np.zeros((4, 4), np.uint8)}
    with pytest.raises(InputError, match=told):
        Example("x", **{**good, **change})


def test_large_pictures_are_thinned():
    shown = Example("x", np.zeros((30, 2500), np.uint8), None, np.zeros((30, 2500), np.uint8))
    page = render(bare(examples=[shown]))
    assert len(page) < 400_000


def test_numbers():
    assert [short(v) for v in (3.14e-7, 0, 1.0, None, math.nan)] == ["3.1e-7", "0", "1.0e0", "–", "–"]
    steps, loss = series([{"step": 1, "loss": 2}, {"step": 2}, {"step": 3, "loss": math.inf}], "loss")
    assert (steps.tolist(), loss.tolist()) == ([1.0], [2.0])


@pytest.mark.parametrize("module", ["matplotlib", "jinja2"])
def test_missing_library_is_one_line(module, report, tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == module]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"needs {module}; .* pip install 'unet-twins\[report\]'$") as caught:
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


def test_a_loss_that_falls_by_decades_has_plain_numbers():
    """Matplotlib's own labels of a log axis are TeX, which a report does not parse."""
    from unet_tools.report.plots import draw_loss
    from unet_tools.report.style import drawing, new_figure

    with drawing():
        figure = new_figure(3, 2)
        axes = figure.add_subplot()
        draw_loss(axes, [{"step": i, "loss": 4.0 * 0.9**i} for i in range(60)])
        figure.canvas.draw()
        texts = [label.get_text() for label in axes.get_yticklabels(which="both")]
    assert "0.1" in texts
    assert not any("$" in text for text in texts)
