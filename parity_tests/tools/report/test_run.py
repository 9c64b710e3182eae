"""The report of a training run."""

import json
from dataclasses import replace

import numpy as np
import pytest

from unet_data import measure_in_detail, membranes, split
from unet_data.metrics.evaluate import commonest_class_accuracy
from unet_data.windows import middle
from unet_jax import JaxRuntime
from unet_jax.registry import from_pretrained
from unet_jax.training.augmentation.augment import NONE
from unet_jax.training.loop import train
from unet_jax.training.settings import TrainSettings
from unet_spec import preset
from unet_tools.training.judging.verdict import Run, judge

NARROW = preset("paper", widths=(2, 4), dropout=0.0)
TWO_STEPS = TrainSettings().replace(steps=2, tile=28, augmentation=NONE)


@pytest.mark.slow
def test_the_report_shows_the_same_window_of_image_and_label(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    import unet_tools.training.demo
    from unet_tools.report.run import write_run_report

    monkeypatch.setattr("unet_tools.report.run.middle", lambda shape: middle(shape, 36))
    seen, real = [], unet_tools.training.demo.example_of
    monkeypatch.setattr(unet_tools.training.demo, "example_of", lambda *a: seen.append(a) or real(*a))
    training, validation = split(membranes(12, 60, 0))
    result = train(NARROW, TWO_STEPS, training, validation, tmp_path / "run")
    best = from_pretrained(tmp_path / "run" / "best")
    measured = measure_in_detail(JaxRuntime(best).run, NARROW, best.data, validation)
    measured = replace(measured, images=dict(zip(validation.names, (0.3, 0.1), strict=True)))
    verdict = judge(result.log, measured, Run("d", tmp_path, 2, "iou"))
    assert write_run_report(result, NARROW, TWO_STEPS, best, validation, measured, verdict)
    window = middle((60, 60), 36)
    _, image, label, logits, overlapping = seen[0]
    assert not overlapping
    np.testing.assert_array_equal(image, validation.images[1][window])  # the worst one comes first
    np.testing.assert_array_equal(label, validation.labels[1][window])
    assert logits.shape[:2] == (36, 36)
    written = json.loads((tmp_path / "run" / "report.json").read_text())
    assert written["verdict"] == [*verdict.lines, f"next: {verdict.next}"]
    assert written["classes"] == measured.classes
    scores = written["scores"]
    assert scores["baseline_pixel_accuracy"] == pytest.approx(commonest_class_accuracy(validation))
    assert abs(scores["baseline_pixel_accuracy"] - 0.5) > 0.05
    ranks = [(name, title.partition(":")[0]) for name, title in headings(tmp_path / "run" / "report.html")]
    assert ranks == [(validation.names[1], "Worst"), (validation.names[0], "Best")]


def headings(page):
    """The name of each example and its heading."""
    texts = [text.partition("<")[0] for text in page.read_text().split("<h3>")[1:]]
    return [(text.partition(": ")[2].strip(), text) for text in texts if ": " in text]


def test_which_images_are_shown():
    from unet_tools.report.run import ranked

    scores = {"a": 0.7, "b": 0.9, "c": 0.2, "d": 0.8, "e": 0.75}
    assert list(ranked(scores, list(scores)).items()) == [("c", "worst"), ("e", "median"), ("b", "best")]
    assert ranked({"a": 0.7, "b": 0.9}, ["a", "b"]) == {"a": "worst", "b": "best"}
    assert ranked({"a": 0.7}, ["a"]) == {"a": ""}
    assert ranked({}, list("wxyz")) == {"w": "", "x": "", "y": ""}
