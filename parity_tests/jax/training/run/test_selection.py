"""Which checkpoint is the best."""

import json
import math
from dataclasses import replace
from typing import get_args

import jax
import numpy as np
import pytest
from flax import nnx

import unet_jax.training.evaluator
import unet_jax.training.log
import unet_jax.training.trainer
from unet_data import Dataset, ObjectSettings, instance_scores, membranes, objects_of, split, with_border
from unet_data.metrics.evaluate import measure
from unet_data.metrics.instances import object_maps
from unet_jax.registry import create
from unet_jax.training.evaluator import Evaluator
from unet_jax.training.loop import train
from unet_jax.training.run.selection import is_best, logged_measure, measure_for
from unet_jax.training.settings import Measure
from unet_spec import DataSpec, InputError

from ..small_runs import SMALL, WITHOUT_DROPOUT, data

SETTINGS = SMALL.replace(steps=3, log_every=3, validate_every=1)
THREE = WITHOUT_DROPOUT.replace(out_channels=3)
DATA = membranes(2, 40, 0)
_NUMBERS = np.zeros((40, 40), np.int32)
_NUMBERS[2:12, 3:15], _NUMBERS[2:12, 15:24], _NUMBERS[18:30, 5:20], _NUMBERS[33:38, 28:38] = 1, 2, 3, 4
CELLS = Dataset(
    tuple(np.roll((_NUMBERS > 0) * np.uint8(200), by, 0)[..., None] for by in (1, 2)),
    ((_NUMBERS > 0).astype(np.int32),) * 2,
    ("a", "b"),
    ("background", "cell"),
    "cells",
    instances=(_NUMBERS,) * 2,
)
"""Two pictures of four objects, of which two touch."""
SCORES = [{"iou": 0.5, "v_rand": 0.7}, {"iou": 0.6, "v_rand": 0.9}, {"iou": 0.8, "v_rand": 0.8}]
"""Of three measurements, the second is best by V_Rand, the third by IoU."""


@pytest.mark.parametrize(("select", "wanted"), [("auto", 1), pytest.param("iou", 2, marks=pytest.mark.slow)])
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
    with pytest.raises(InputError, match="select is 'luck'"):
        SETTINGS.replace(select="luck")


def test_objects_choose_where_they_are_what_is_trained():
    bordered = with_border(CELLS)
    assert measure_for(SETTINGS, THREE, bordered) == "ap_mean"
    assert measure_for(SETTINGS, WITHOUT_DROPOUT, CELLS) == "iou"  # they are numbered, but nothing separates them
    assert measure_for(SETTINGS, WITHOUT_DROPOUT.replace(distance_head=True), CELLS) == "ap_mean"
    assert measure_for(SETTINGS.replace(select="ap_mean"), WITHOUT_DROPOUT, CELLS) == "ap_mean"
    assert measure_for(SETTINGS.replace(select="dice"), THREE, bordered) == "dice"
    with pytest.raises(InputError, match="ap_mean, which needs labels that number objects"):
        measure_for(SETTINGS.replace(select="ap_mean"), WITHOUT_DROPOUT, replace(CELLS, instances=None))
    assert logged_measure("auto", {"iou": 0.1, "ap_mean": 0.2}) == "ap_mean"
    assert logged_measure("auto", {"iou": 0.1}) == "iou"
    assert logged_measure("loss", {"iou": 0.1}) == "validation_loss"


def test_of_losses_the_lowest_is_best():
    assert is_best("validation_loss", {"validation_loss": 0.4}, {"validation_loss": 0.5})
    assert not is_best("validation_loss", {"validation_loss": 0.6}, {"validation_loss": 0.5})
    assert is_best("validation_loss", {"validation_loss": 0.6}, {"iou": 0.5})


@pytest.mark.parametrize(("select", "expected"), [("auto", 1), ("iou", 2), ("loss", 0)])
def test_iou_objects_and_loss_disagree(select, expected, tmp_path, monkeypatch):
    """The object settings arrive, and the score that is asked for chooses."""
    scores = [{"iou": 0.5, "ap_mean": 0.1}, {"iou": 0.6, "ap_mean": 0.3}, {"iou": 0.7, "ap_mean": 0.2}]
    printed, losses, separated = iter(scores), iter((0.1, 0.2, 0.3)), []

    def stub(run, config, data, validation, objects, warp, each, separate):
        separated.append(separate)
        each(np.zeros((1, 1, 3), np.float32), np.zeros((1, 1), np.int32))
        return dict(next(printed))

    monkeypatch.setattr(unet_jax.training.evaluator, "measure", stub)
    monkeypatch.setattr(Evaluator, "_loss_of", lambda *_: next(losses))
    data, settings = with_border(CELLS), SETTINGS.replace(select=select)
    model = create(THREE, 0)
    model.data = DataSpec(class_names=data.class_names)
    evaluator = Evaluator(model, settings, measure_for(settings, THREE, data), data, tmp_path)
    states = [jax.tree.map(np.asarray, nnx.state(model, kind)) for kind in (nnx.Param, nnx.BatchStat)]
    kept = []
    for _ in scores:
        evaluator.evaluate(*states)
        kept.append((tmp_path / "best" / "model.safetensors").stat().st_mtime_ns)
    assert evaluator.saved.best["iou"] == scores[expected]["iou"]
    assert evaluator.saved.scores["iou"] == 0.7
    assert len(set(kept)) == expected + 1  # best/ was written as often as the score rose
    assert separated == [ObjectSettings("probability", border=2, grow=2) if select == "auto" else None] * 3


def test_the_score_is_that_of_the_separated_objects():
    """`measure` gives what separating and scoring one by one gives."""
    data, settings = with_border(CELLS), ObjectSettings("probability", border=2, grow=2)

    def bright(images):
        rim = (images.shape[1] - THREE.geometry.output_shape(images.shape[1:3])[0]) // 2
        inside = 12 * (images[:, rim:-rim, rim:-rim] - 0.5)
        return np.concatenate([-inside, inside, np.full_like(inside, -9)], -1)

    spec = DataSpec(class_names=data.class_names)
    found = measure(bright, THREE, spec, data, separate=settings)["ap_mean"]
    maps = object_maps(bright, THREE, spec, data)
    expected = instance_scores(data.instances, [objects_of(m, settings)[0] for m in maps])["ap_mean"]
    assert found == expected
    assert 0.1 < found < 0.9
    assert "ap_mean" not in measure(bright, THREE, spec, data)


def test_validation_labels_without_objects_are_refused(tmp_path):
    training, validation = split(with_border(CELLS))
    with pytest.raises(InputError, match="best/ is chosen by ap_mean, which needs labels that number objects"):
        train(THREE, SETTINGS, training, replace(validation, instances=None), tmp_path / "run")
    assert not (tmp_path / "run").exists()


SHORT = SMALL.replace(steps=3, log_every=1, validate_every=9)


def test_all_choices_of_a_measure_are_measured():
    def nothing(images):
        return np.zeros((len(images), *WITHOUT_DROPOUT.geometry.output_shape(images.shape[1:3]), 2))

    training, validation = data()
    scores = measure(nothing, WITHOUT_DROPOUT, DataSpec(), validation, objects=True)
    names = set(get_args(Measure)) - {"ap_mean", "loss"}  # see above
    assert {measure_for(SHORT.replace(select=name), WITHOUT_DROPOUT, training) for name in names} <= set(scores)
