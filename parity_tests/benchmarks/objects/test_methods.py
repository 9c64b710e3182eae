"""Objects by several trainings: which runs are made, how they are scored, the table."""

import numpy as np
import pytest

from benchmarks.objects.methods import (
    CONNECTED,
    COUNTS,
    MEASURES,
    METHODS,
    VIEWS,
    Args,
    further_scores,
    page,
    run_keys,
    scores_of,
    table,
)
from unet_data import Dataset
from unet_jax import TrainSettings
from unet_spec import DataSpec, InputError, preset


def test_runs_are_made_fold_by_fold(tmp_path):
    args = Args("d", tmp_path / "x.json", minutes=2, folds=2, methods=("border class", "two classes"))
    runs = [(run["fold"], run["method"], run["minutes"]) for run in run_keys(args)]
    assert runs == [(1, "border class", 2), (1, "two classes", 2), (2, "border class", 2), (2, "two classes", 2)]
    assert [run["fold"] for run in run_keys(Args("d", tmp_path / "x", only=(3,), methods=("border class",)))] == [3]
    with pytest.raises(InputError, match="no method x; there are: two classes, border weights"):
        list(run_keys(Args("d", tmp_path / "x.json", methods=("x",))))


def test_only_one_method_has_border_weights():
    own = {name: TrainSettings().replace(**{k: v for k, v in values.items() if k != "distance_head"})
           for name, values in METHODS.items()}  # fmt: skip
    assert {name for name, s in own.items() if s.loss.border_weight} == {"border weights"}
    assert {name for name, s in own.items() if s.data.objects} == {"border class", "border class, distance head"}


def test_scores_are_of_the_chosen_settings_and_of_connected_components():
    """A network that repeats its image as the logit of class 1, on two discs with a narrow neck between them."""
    yy, xx = np.mgrid[:40, :70]
    left, right = np.hypot(yy - 20, xx - 20) < 14, np.hypot(yy - 20, xx - 46) < 14
    truth = left + 2 * (right & ~left).astype(np.int32)
    image = np.where(truth > 0, 6.0, -6.0).astype(np.float32)[..., None]
    data = Dataset((image,), ((truth > 0).astype(np.int32),), ("a",), ("background", "cell"), "d", instances=(truth,))
    spec = DataSpec((0.0,), (1.0,), data.class_names)
    config = preset("same", widths=(2, 4))
    scores, settings = scores_of(lambda x: np.concatenate([-x, x], -1) / 2, config, spec, data, data)
    assert settings.neck > 0
    assert (scores["ap@0.50"], scores["merged"]) == (1.0, 0.0)
    assert (scores["ap@0.50" + CONNECTED], scores["merged" + CONNECTED]) == (0.5, 1.0)


def test_further_scores():
    """A large object found, a large one missed, a small one missed, a small one that is none; an image of one found."""
    truth, guess = np.zeros((20, 60), int), np.zeros((20, 60), int)
    truth[:10, :10], guess[:10, :9] = 1, 4
    truth[:10, 20:30] = 2
    truth[15:, :5] = 3
    guess[15:, 30:35] = 5
    found = further_scores([truth, truth == 1], [guess, guess == 4])
    assert found == {"ap@0.50 of images": (1 / 4 + 1) / 2, "ap@0.50 from 50 pixels": 2 / 3}
    assert further_scores([truth], [guess], smallest=1)["ap@0.50 from 50 pixels"] == 1 / 4
    assert further_scores([truth, 0 * truth], [guess, 0 * guess])["ap@0.50 of images"] == 1 / 4


def run(method, fold, value):
    scores = {name: 7.0 if name in COUNTS else value for name in MEASURES}
    scores |= {name + suffix: value for name in MEASURES for suffix in (CONNECTED, f", {VIEWS}")}
    return {"method": method, "fold": fold, "minutes": 5, "steps": 100, "widths": [16, 128]} | scores


def test_the_table_has_means_of_scores_and_sums_of_counts():
    runs = [run("border class", 1, 0.25), run("border class", 2, 0.75), run("two classes", 1, 0.5)]
    first, second = table(runs, "")
    assert first[:4] == ("two classes", "5", "1", "0.500")
    assert second[:4] == ("border class", "5", "2", "0.500 ± 0.354")
    assert second[-6:] == ("14", "14", "", "", "16 … 128", "100")  # without the further scores
    runs = [one | {"ap@0.50 of images": 0.5, "ap@0.50 from 50 pixels": 1.0} for one in runs]
    assert table(runs, "")[1][-4:-2] == ("0.500 ± 0.000", "1.000 ± 0.000")
    text = page({"runs": runs, "command": "C", "data": "D", "date": "T", "hardware": "H"})
    assert text.count("| border class | 5 | 2 | 0.500 ± 0.354 |") == 3
