"""The images for training, selection and scores; a given run must not have used the images for scores."""

from __future__ import annotations

import pytest

from tools.weights.recipes import check_run, parts_of, settings_of, train_run
from unet_data import membranes
from unet_jax import preset
from unet_spec import InputError

CONFIG = preset("same", widths=(2, 3), in_channels=1)


@pytest.mark.parametrize(("count", "parts"), [(120, (80, 20, 20)), (24, (16, 4, 4)), (6, (4, 1, 1)), (11, (9, 1, 1))])
def test_every_image_is_in_one_part_in_order(count, parts):
    dataset = membranes(count, 8, 0)
    found = parts_of(dataset)
    split = (found.training, found.validation, found.test)
    assert tuple(map(len, split)) == parts
    assert tuple(name for part in split for name in part.names) == dataset.names


def test_too_few_images_are_refused():
    with pytest.raises(InputError, match="has 5 images; two thirds, a sixth and a sixth need 6 or more"):
        parts_of(membranes(5, 8, 0))


@pytest.mark.slow
def test_a_run_is_taken_only_where_it_left_the_last_images_alone(tmp_path):
    parts = parts_of(membranes(6, 32, 0))
    settings = settings_of(1, 3).replace(tile=16)
    train_run(parts, CONFIG, settings, tmp_path / "run")
    assert check_run(parts, tmp_path / "run") == settings
    train_run(parts, CONFIG, settings, tmp_path / "run")  # finished: nothing is done again
    for other, which in ((membranes(6, 32, 1), "training"), (membranes(7, 32, 0), "training")):
        with pytest.raises(InputError, match=rf"run has other {which} images than the \d of .* that are to be"):
            check_run(parts_of(other), tmp_path / "run")
    swapped = type(parts)(parts.training, parts.test, parts.validation)
    with pytest.raises(InputError, match="other validation images than the 1 of"):
        check_run(swapped, tmp_path / "run")
    with pytest.raises(InputError, match="is not a run folder"):
        check_run(parts, tmp_path)
