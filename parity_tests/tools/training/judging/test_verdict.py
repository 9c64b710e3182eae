"""The verdict on hand-made runs."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from unet_data import Measurement
from unet_tools.training.judging.verdict import Run, judge

from .test_trend import FALLING, log

RUN = Run("my data", Path("runs/x"), 100, "iou")
FLAT = [0.4] * 10
OVER = [1.0, 0.6, 0.4, 0.35, 0.36, 0.4, 0.45, 0.5, 0.56, 0.6]
LEARNING = [1 / n for n in range(1, 21)]
LONGER = "unet train 'my data' --out runs/x --resume --steps 200"
PREDICT = "unet predict runs/x/best IMAGE -o OUT"
CHECK = "unet data check 'my data'"


def measured(matrix, images=None):
    """Scores follow from the counts of pixels: rows are labels."""
    matrix = np.array(matrix)
    right, present = np.diag(matrix), matrix.sum(1) > 0
    union = matrix.sum(0) + matrix.sum(1) - right
    scores = {
        "pixel_accuracy": right.sum() / matrix.sum(),
        "iou": float(np.mean((right / np.maximum(union, 1))[present])),
    }
    names = ("membrane", "cell", "gap")[: len(matrix)]
    return Measurement(scores, matrix, images or {"a": 0.5, "b": 0.25}, names)


GOOD = measured([[18, 2], [3, 77]])
WORSE = measured([[0, 20], [5, 75]])  # 0.75, all cell 0.80
WEAK = measured([[15, 5], [25, 55]])  # 0.70 and 0.49, all cell 0.80 and 0.40
RARE = measured([[9850, 50], [20, 80]])  # 0.993 and 0.76, all membrane 0.99 and 0.495
RARER = measured([[9800, 100], [10, 90]])  # 0.989 and 0.72


@pytest.mark.parametrize(
    ("found", "validation", "judgement", "useful", "trend", "next"),
    [
        (GOOD, FLAT, "better", True, "flat", PREDICT),
        (GOOD, FALLING, "better", True, "falling", PREDICT),
        (GOOD, OVER, "better", True, "overfitting", PREDICT),
        (WORSE, FALLING, "worse", False, "falling", LONGER),
        (WORSE, FLAT, "worse", False, "flat", CHECK),
        (WORSE, OVER, "worse", False, "overfitting", CHECK),
        (WORSE, [0.4, 0.3], "worse", False, "unknown", LONGER),
        (WEAK, FALLING, "mixed", False, "falling", LONGER),
        (RARE, FLAT, "better", True, "flat", PREDICT),
        (RARER, FLAT, "mixed", True, "flat", PREDICT),
        (None, FLAT, "unmeasured", False, "flat", LONGER),
    ],
)
def test_the_verdict_and_the_next_command(found, validation, judgement, useful, trend, next):
    verdict = judge([*log(validation, LEARNING), {"step": 100, "loss": 0.1}], found, RUN)
    assert (verdict.judgement, verdict.useful, verdict.trend) == (judgement, useful, trend)
    assert verdict.next == next
    assert verdict.complete


def test_the_words_of_a_network_that_is_worse_than_one_class():
    found = measured([[0, 20, 0], [5, 75, 0], [0, 0, 0]], {"a": 0.5, "b 1": 0.25})
    records = [{"step": 40, "pixel_accuracy": 0.7, "iou": 0.5}, {"step": 100, "pixel_accuracy": 0.7, "iou": 0.4}]
    verdict = judge(records, found, RUN)
    assert verdict.lines == (
        "worse than calling every pixel 'cell': pixel accuracy 0.750 (0.800), mean IoU 0.375 (0.400)",
        "the best checkpoint (step 40) has mean IoU 0.500; the last one (step 100) has 0.400",
        "too few validations to see a trend of the validation loss",
        "worst image: b 1, mean IoU 0.250",
        "train longer before you change anything else",
    )
    assert (verdict.best_step, verdict.last_step, verdict.worst_image) == (40, 100, ("b 1", 0.25))


def test_classes_that_are_never_predicted_are_named():
    """Classes without a pixel are not listed."""
    assert judge([], measured([[0, 20], [0, 80]]), RUN).never_predicted == ("membrane",)
    assert judge([], measured([[0, 20, 0], [0, 70, 0], [0, 10, 0]]), RUN).never_predicted == ("membrane", "gap")
    assert judge([], measured([[20, 0, 0], [0, 80, 0], [0, 0, 0]]), RUN).never_predicted == ()


def test_the_later_of_equal_checkpoints_is_the_best():
    records = [{"step": s, "pixel_accuracy": 0.9, "iou": 0.5} for s in (10, 20)]
    verdict = judge(records, GOOD, RUN)
    assert verdict.lines[2] == "the last checkpoint (step 20) is also the best by mean IoU"
    assert (verdict.best_step, verdict.last_step) == (20, 20)
    nothing = judge([{"step": 10, "pixel_accuracy": 0.9, "iou": float("nan")}], GOOD, RUN)
    assert nothing.best_step == 10


def test_a_run_that_was_cut_short_goes_on():
    for found in (GOOD, WORSE, None):
        verdict = judge(log(FALLING), found, Run("d", Path("x"), 101, "iou"))
        assert verdict.lines[0] == "stopped after step 100 of 101"
        assert verdict.next == "unet train d --out x --resume"
        assert not verdict.complete


def test_one_class_alone_is_compared_by_accuracy():
    one = measured([[0, 0], [0, 100]])
    one.scores["iou"] = float("nan")
    verdict = judge(log(FLAT), one, RUN)
    assert verdict.judgement == "worse"  # it cannot be better
    assert verdict.lines[0] == "no better than calling every pixel 'cell': pixel accuracy 1.000 (1.000)"


@pytest.mark.parametrize(
    ("right", "judgement", "words"),
    [(797, "worse", "no better than"), (803, "worse", "no better than"), (794, "worse", "worse than")],
)
def test_a_difference_of_less_than_a_fiftieth_of_what_is_possible_is_no_difference(right, judgement, words):
    """800 of 1000 pixels are cell; the network is wrong on cells only, or right on a few of the others."""
    more = max(0, right - 800)
    found = measured([[more, 200 - more], [max(0, 800 - right), min(right, 800)]])
    found.scores["iou"] = found.baseline["iou"]
    verdict = judge(log(FLAT), found, RUN)
    assert verdict.judgement == judgement
    assert verdict.lines[0].startswith(f"{words} calling every pixel 'cell': pixel accuracy 0.{right} (0.800)")


@pytest.mark.parametrize(
    ("found", "validation", "advice"),
    [
        (GOOD, FALLING, f"more steps would help: {LONGER}"),
        (GOOD, OVER, "more images, or stronger augmentation, would help more than further steps"),
        (WORSE, FALLING, "train longer before you change anything else"),
        (WORSE, OVER, "the network memorises the training images: check that labels match their images, or add images"),
        (WORSE, FLAT, "the network does not generalise to other images: check that labels match their images"),
    ],
)
def test_the_advice(found, validation, advice):
    assert judge(log(validation, LEARNING), found, RUN).lines[-1].startswith(advice)


@pytest.mark.parametrize(
    ("found", "advice"),
    [(GOOD, "a new run with a lower --learning-rate would help"), (WORSE, "first try a new run with a lower --learn")],
)
def test_a_loss_that_only_rises_asks_for_a_lower_rate(found, advice):
    verdict = judge(log(OVER, [0.5] * 20), found, RUN)
    assert verdict.trend == "rising"
    assert verdict.lines[-1].startswith(advice)
    assert "rose from 0.355 at step 50 to 0.580, and the training loss did not fall" in " ".join(verdict.lines)


def test_a_run_that_goes_well_or_was_not_measured_needs_no_advice():
    assert judge(log(FLAT), GOOD, RUN).lines[-1] == "worst image: b, mean IoU 0.250"
    assert judge(log(FLAT), None, RUN).lines[-1] == "the validation loss no longer changes (0.400)"


@pytest.mark.parametrize(
    ("accuracy", "iou", "judgement", "useful"),
    [
        (0.505, 0.505, "worse", False),
        (0.515, 0.505, "mixed", False),  # a fiftieth of what is missing is 0.01
        (0.505, 0.515, "mixed", False),
        (0.515, 0.515, "better", True),
        (0.1, 0.63, "mixed", True),  # a quarter of what is missing is 0.125
        (0.1, 0.62, "mixed", False),
        (0.9, 0.4, "mixed", False),
    ],
)
def test_better_by_a_fiftieth_and_useful_by_a_quarter_of_what_is_missing(accuracy, iou, judgement, useful):
    scores, base = ({"pixel_accuracy": a, "iou": b} for a, b in ((accuracy, iou), (0.5, 0.5)))
    found = SimpleNamespace(scores=scores, baseline=base, commonest="cell", classes=[], images={})
    verdict = judge(log(FLAT), cast(Measurement, found), RUN)
    assert (verdict.judgement, verdict.useful) == (judgement, useful)
    words = {"worse": "no better than", "mixed": "neither better nor worse than", "better": "better than"}
    assert verdict.lines[0].startswith(f"{words[judgement]} calling every pixel 'cell'")


@pytest.mark.parametrize(
    ("select", "values", "line"),
    [
        ("validation_loss", [0.5, 0.2, 0.4], "the best checkpoint (step 20) has validation loss 0.200; the last one"),
        ("dice", [0.5, 0.7, 0.6], "the best checkpoint (step 20) has mean Dice 0.700; the last one"),
        ("v_rand", [0.5, 0.7, 0.7], "the last checkpoint (step 30) is also the best by V_Rand"),
        ("other", [0.5, math.nan, 0.6], "the last checkpoint (step 30) is also the best by other"),
    ],
)  # fmt: skip
def test_the_best_checkpoint_is_that_of_the_score_that_chose_it(select, values, line):
    records = [{"step": 10 * n, "iou": 1.0 / n, select: value} for n, value in enumerate(values, start=1)]
    verdict = judge([*records, {"step": 40, "loss": 1.0, select: 9.0}], None, Run("d", Path("x"), 40, select))
    assert verdict.lines[1].startswith(line)
    assert ("; the last one (step 30) has" in verdict.lines[1]) == (verdict.best_step == 20)
    assert judge(records, None, Run("d", Path("x"), 30, "ap_mean")).best_step == 10  # an older run, by its IoU


def test_a_run_without_validation_has_no_best_checkpoint():
    verdict = judge([{"step": 3, "loss": 1.0}], None, Run("d", Path("x"), 4, "iou"))
    assert (verdict.best_step, verdict.last_step, verdict.worst_image) == (None, None, None)
    assert verdict.lines[:2] == ("stopped after step 3 of 4", "not measured on validation images")


def test_overlapping_classes_have_no_baseline():
    found = SimpleNamespace(
        scores={"iou": 0.25}, baseline={"pixel_accuracy": math.nan, "iou": math.nan}, classes=[], images={}
    )
    verdict = judge(log(FALLING), cast(Measurement, found), RUN)
    assert (verdict.judgement, verdict.useful, verdict.next) == ("unmeasured", True, PREDICT)
    assert verdict.lines[0] == "mean IoU (not compared with a baseline, since classes overlap): 0.250"
