"""Which checkpoint is the best."""

import json
import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

import unet_jax.training.evaluator
import unet_jax.training.log
import unet_jax.training.trainer
from unet_data import membranes, split
from unet_data.metrics.evaluate import measure
from unet_jax.training.loop import train
from unet_jax.training.run.selection import is_best, measure_for
from unet_jax.training.settings import Measure
from unet_spec import DataSpec, InputError

from ..small_runs import SMALL, WITHOUT_DROPOUT, data

SETTINGS = SMALL.replace(steps=3, log_every=3, validate_every=1)
DATA = membranes(2, 40, 0)
SCORES = [{"iou": 0.5, "v_rand": 0.7}, {"iou": 0.6, "v_rand": 0.9}, {"iou": 0.8, "v_rand": 0.8}]
"""Of three measurements, the second is best by V_Rand, the third by IoU."""


@pytest.mark.parametrize(("select", "wanted"), [("auto", 1), ("iou", 2)])
def test_best_is_what_the_measure_says(select, wanted, tmp_path, monkeypatch):
    printed, asked = iter(SCORES), []
    monkeypatch.setattr(
        unet_jax.training.evaluator,
        "measure",
        lambda run, c, d, v, objects, *more: asked.append(objects) or next(printed),
    )
    result = train(WITHOUT_DROPOUT, SETTINGS.replace(select=select), *split(DATA), tmp_path / "run")
    assert result.best == SCORES[wanted]
    assert result.scores == SCORES[2]
    assert asked == [select == "auto"] * 3  # objects are only measured where they count
    best, last = ((tmp_path / "run" / n / "model.safetensors").read_bytes() for n in ("best", "last"))
    assert (best == last) == (wanted == 2)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["settings"]["select"] == select


def test_no_score_is_less_than_any():
    nan = {"v_rand": math.nan}
    assert is_best("v_rand", {"v_rand": 0.1}, nan)
    assert not is_best("v_rand", nan, {"v_rand": 0.1})
    assert is_best("v_rand", nan, {})  # something is better than nothing
    assert is_best("iou", {"iou": 0.5}, {"iou": 0.5})  # of equals, the later
    assert not is_best("iou", {"iou": 0.4, "v_rand": 1.0}, {"iou": 0.5, "v_rand": 0.0})


def test_what_auto_stands_for():
    assert measure_for(SETTINGS, WITHOUT_DROPOUT, DATA) == "v_rand"
    nuclei = replace(DATA, class_names=("background", "foreground"))
    assert measure_for(SETTINGS, WITHOUT_DROPOUT, nuclei) == "iou"
    many = WITHOUT_DROPOUT.replace(out_channels=3)
    assert measure_for(SETTINGS, many, DATA) == "iou"
    with pytest.raises(InputError, match="choose iou or dice"):
        measure_for(SETTINGS.replace(select="v_info"), many, DATA)
    with pytest.raises(InputError, match="select is 'loss'"):
        SETTINGS.replace(select="loss")


SHORT = SMALL.replace(steps=3, log_every=1, validate_every=9)


def test_all_choices_of_a_measure_are_measured():
    def nothing(images):
        return np.zeros((len(images), *WITHOUT_DROPOUT.geometry.output_shape(images.shape[1:3]), 2))

    training, validation = data()
    scores = measure(nothing, WITHOUT_DROPOUT, DataSpec(), validation, objects=True)
    assert {measure_for(SHORT.replace(select=name), WITHOUT_DROPOUT, training) for name in get_args(Measure)} <= set(
        scores
    )
