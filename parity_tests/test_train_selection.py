"""Which checkpoint is best/: by the measure that the settings name."""

import json
import math
from dataclasses import replace

import pytest

import unet_jax.train
from unet_data import membranes, split
from unet_jax.selection import is_best, measure_for
from unet_jax.settings import TrainSettings
from unet_jax.train import train
from unet_spec import InputError, preset

CONFIG = preset("paper", widths=(2, 4), dropout=0.0)
SETTINGS = TrainSettings(steps=3, tile=28, log_every=3, validate_every=1)
DATA = membranes(2, 40, 0)
SCORES = [{"iou": 0.5, "v_rand": 0.7}, {"iou": 0.6, "v_rand": 0.9}, {"iou": 0.8, "v_rand": 0.8}]
"""Of three measurements, the second is best by V_Rand, the third by IoU."""


@pytest.mark.parametrize(("select", "wanted"), [("auto", 1), ("iou", 2)])
def test_best_is_what_the_measure_says(select, wanted, tmp_path, monkeypatch):
    told, asked = iter(SCORES), []
    monkeypatch.setattr(unet_jax.train, "measure", lambda run, c, d, v, objects: asked.append(objects) or next(told))
    result = train(CONFIG, replace(SETTINGS, select=select), *split(DATA), tmp_path / "run")
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
    assert measure_for(SETTINGS, CONFIG, DATA) == "v_rand"
    nuclei = replace(DATA, class_names=("background", "foreground"))
    assert measure_for(SETTINGS, CONFIG, nuclei) == "iou"
    many = CONFIG.replace(out_channels=3)
    assert measure_for(SETTINGS, many, DATA) == "iou"
    with pytest.raises(InputError, match="choose iou or dice"):
        measure_for(replace(SETTINGS, select="v_info"), many, DATA)
    with pytest.raises(InputError, match="select is 'loss'"):
        replace(SETTINGS, select="loss")
