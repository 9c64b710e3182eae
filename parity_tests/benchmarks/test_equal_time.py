"""Training without settings beside others: which runs are made, tiles of the plain loop, the table."""

import numpy as np
import pytest

from benchmarks import equal_time
from benchmarks.equal_time import CROP, NO_SETTINGS, PLAIN, Args, columns, page, run_keys, scores_of, table
from unet_data import membranes
from unet_jax import TrainSettings
from unet_spec import InputError


def test_runs_are_made_seed_by_seed(tmp_path):
    args = Args("d", tmp_path / "x.json", minutes=2, seeds=(3, 1), programs=(PLAIN, NO_SETTINGS))
    runs = [(run["seed"], run["program"], run["minutes"]) for run in run_keys(args)]
    assert runs == [(3, PLAIN, 2), (3, NO_SETTINGS, 2), (1, PLAIN, 2), (1, NO_SETTINGS, 2)]
    with pytest.raises(InputError, match="no program unknown; there are: no settings, modern, paper-2015, plain"):
        list(run_keys(Args("d", tmp_path / "x.json", programs=("unknown",))))


def test_a_tile_of_the_plain_loop_and_its_label_are_turned_alike():
    """Of images that equal their labels, one of them smaller than a tile."""
    rng = np.random.default_rng(0)
    labels = [equal_time._at_least(rng.integers(0, 9, size)) for size in ((300, 280), (90, 400))]
    images = [label[..., None].astype(np.float32) for label in labels]
    seen = set()
    for _ in range(40):
        image, label = equal_time._crop(images, labels, rng)
        assert image.shape == (CROP, CROP, 1)
        assert (image[..., 0] == label).all()
        seen.add(label[0].tobytes())
    assert len(seen) == 40


def test_a_recipe_is_left_as_it_is_by_the_plan():
    settings = TrainSettings().replace(momentum=0.5, elastic=3.0)
    values = equal_time._values(settings)
    assert (values["momentum"], values["elastic"]) == (0.5, 3.0)
    assert "steps" not in values
    assert "augmentation" not in values
    assert settings.replace(**values) == settings


def run(program, seed, value, **more):
    scores = dict.fromkeys(("v_rand", "v_info", "pixel_error", "iou"), value)
    scores |= {f"{name}, flips+turns": value + 0.01 for name in scores}
    return {"program": program, "minutes": 24, "seed": seed, "steps": 100, "widths": [16, 32], "spent": 24.5} | scores


def test_the_table_has_a_line_for_each_program_in_their_order():
    runs = [run(PLAIN, 0, 0.5), run(NO_SETTINGS, 0, 0.25), run(NO_SETTINGS, 1, 0.75)]
    first, second = table(runs)
    assert first[:4] == (NO_SETTINGS, "2", "16 … 32, 100", "0.500 ± 0.354")
    assert second[:4] == (PLAIN, "1", "16 … 32, 100", "0.500")
    assert first[-1] == "24.5"
    assert len(first) == len(columns(runs)) == 12
    text = page({"runs": runs, "command": "C", "data": "D", "date": "T", "hardware": "H"})
    assert "| no settings | 2 | 16 … 32, 100 | 0.500 ± 0.354 |" in text


@pytest.mark.slow
def test_the_plain_loop_trains_a_network_that_is_scored():
    training = membranes(2, 64, seed=0)
    found, config, spec, steps = equal_time.train_plainly(training, 4.0, 0)
    assert steps >= 1
    assert config.widths == equal_time.PLAIN_WIDTHS
    scores = scores_of(found, config, spec, training)
    assert {name for name in scores if "flips" not in name} == {"v_rand", "v_info", "pixel_error", "iou"}
    assert all(0 <= value <= 1 for value in scores.values())
