"""The time per step, and the number of steps within a time."""

import pytest

import unet_jax.training.trainer
from unet_data import membranes
from unet_jax import preset
from unet_jax.training.planning import speed
from unet_jax.training.planning.speed import seconds_per_step, seconds_per_validation, steps_within
from unet_jax.training.settings import TrainSettings

SETTINGS = TrainSettings().replace(tile=28)
NETWORK = preset("paper", widths=(2, 4))


@pytest.mark.slow
def test_the_first_step_is_not_timed_and_the_median_counts(monkeypatch):
    """Steps with simulated times; the first, with compilation, takes a hundred times as long."""
    clock, lengths = [0.0], iter((100.0, 0.2, 0.3, 0.2, 0.9, 0.4, 50.0))
    make = unet_jax.training.trainer.shared_step

    def shared_step(*arguments):
        step = make(*arguments)

        def slow(*given, **named):
            clock[0] += next(lengths)
            return step(*given, **named)

        return slow

    monkeypatch.setattr(unet_jax.training.trainer, "shared_step", shared_step)
    monkeypatch.setattr(unet_jax.training.trainer, "compile_within_memory", lambda step, *_: step)
    assert seconds_per_step(NETWORK, SETTINGS, membranes(2, 40, seed=0), clock=lambda: clock[0]) == pytest.approx(0.3)


def test_a_measurement_is_a_third_of_the_steps_work_a_pixel():
    validation = membranes(2, 40, seed=0)  # 3,200 pixels; a step of 2 tiles gives 2 x 12 x 12
    settings = SETTINGS.replace(batch=2)
    assert seconds_per_validation(NETWORK, settings, validation, 0.9, "iou") == pytest.approx(3200 / 288 * 0.3)
    with_objects = seconds_per_validation(NETWORK, settings, validation, 0.9, "v_rand")
    assert with_objects == pytest.approx(3200 / 288 * 0.3 + 4e-6 * 3200)


@pytest.mark.parametrize(("seconds", "steps"), [(600, 1000), (100.4, 1), (1, 1)])
def test_steps_fill_the_time_that_ten_measurements_leave(seconds, steps):
    assert steps_within(seconds, 0.5, 10) == steps


def test_mean_ap_takes_a_second_for_a_million_pixels_and_volumes_count_whole():
    validation = membranes(2, 40, seed=0)
    settings = SETTINGS.replace(batch=2)
    found = seconds_per_validation(NETWORK, settings, validation, 0.0, "ap_mean")
    assert found == pytest.approx(1e-6 * 3200)
    assert seconds_per_validation(NETWORK, settings, validation, 0.0, "v_info") == pytest.approx(4e-6 * 3200)


def test_a_run_has_ten_validations_and_five_timed_steps_of_three_seconds():
    assert (speed.VALIDATIONS, speed.TIMED_STEPS, speed.TIMING_SECONDS) == (10, 5, 3.0)
