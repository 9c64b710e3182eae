"""A plan keeps given values, shrinks what does not fit into memory, and derives the steps from the time."""

import json

import pytest

from unet_data import membranes, split
from unet_jax import plan_training, preset
from unet_jax.training.devices.step_memory import StepTooLarge
from unet_spec import InputError

PARTS = split(membranes(6, 64, seed=0))
PAPER = preset("paper")


def plan(step=0.5, **arguments):
    """Steps take this many seconds for a network that starts with 16 feature maps, and scale with the square of that
    number."""

    def timed(network, settings, training):
        timed.asked.append((network.widths[0], settings.optimisation.batch))
        return step * (network.widths[0] / 16) ** 2

    timed.asked = []
    arguments = {"seconds": 600.0, "timed": timed} | arguments
    return plan_training(PAPER, *PARTS, **arguments), timed.asked


def choices(planned):
    return {choice.name: choice for choice in planned.choices}


def test_every_choice_is_what_the_network_and_the_settings_have():
    planned, _ = plan()
    values = planned.network.to_dict() | planned.settings.to_dict() | planned.settings.to_dict()["augmentation"]
    for choice in planned.choices:
        assert values[choice.name] == (list(choice.value) if choice.name == "widths" else choice.value), choice
        assert choice.reason
        assert not choice.given


@pytest.mark.parametrize(("seconds", "first"), [(900.0, 16), (1e4, 32), (1e5, 64)])
def test_the_widest_network_of_which_the_time_holds_two_thousand_steps(seconds, first):
    planned, asked = plan(seconds=seconds)
    assert planned.network.widths[0] == first
    assert asked == [(16, 4)] + [(first, 4)] * (first > 16)


def test_the_steps_follow_from_the_time():
    planned, _ = plan(step=0.25, seconds=600.0)
    steps = planned.settings.optimisation.steps
    measured = (600 - 0.25 * steps) / 10
    assert 0 < measured < 1  # for one image of 64 x 64, including V_Rand
    assert planned.settings.validation.validate_every == steps // 10
    assert (planned.step, planned.minutes) == (0.25, pytest.approx(10, abs=0.01))


def test_what_is_given_stays_and_is_marked():
    given = {"widths": (4, 8), "padding": "valid", "batch": 3, "rotation": 90.0, "learning_rate": 0.5, "tile": 28}
    planned, _ = plan(given=given)
    found = choices(planned)
    assert {name: found[name].value for name in given} == given
    assert {name for name, choice in found.items() if choice.given} == set(given)
    assert (planned.network.widths, planned.network.padding) == ((4, 8), "valid")
    assert planned.settings.augmentation.rotation == 90.0
    assert planned.settings.optimisation.batch == 3
    assert found["norm_groups"].value == 4


def test_a_network_that_is_given_is_not_chosen():
    planned = plan_training(preset("same", widths=(2, 4)), *PARTS, choose_network=False, timed=lambda *_: 0.1)
    assert planned.network == preset("same", widths=(2, 4))
    assert "widths" not in choices(planned)
    assert planned.settings.data.tile == 64


def test_a_batch_that_does_not_fit_is_halved():
    def timed(network, settings, training):
        if settings.optimisation.batch > 1:
            raise StepTooLarge("too large")
        return 1.0

    planned, _ = plan(timed=timed)
    assert planned.settings.optimisation.batch == 1
    assert choices(planned)["batch"].reason == "2 do not fit into memory"
    assert planned.network.norm == "group"  # batch norm would see one tile
    for given in ({"batch": 4}, {"batch": 3}):
        with pytest.raises(StepTooLarge):
            plan(timed=timed, given=given)


@pytest.mark.parametrize(
    ("given", "norm"),
    [({}, "batch"), ({"batch": 1}, "group"), ({"accumulate": 4}, "group"), ({"accumulate": 2}, "batch"),
     ({"norm": "none", "batch": 1}, "none")],
)  # fmt: skip
def test_batch_norm_where_tiles_pass_together(given, norm, monkeypatch):
    monkeypatch.setattr("unet_jax.training.planning.rules.DENSE", 1.0)
    assert plan(given=given)[0].network.norm == norm


@pytest.mark.parametrize(
    ("step", "given", "batch", "norm"),
    [
        (6.0, {}, 4, "batch"),  # 100 steps
        (6.1, {}, 2, "batch"),
        (11.9, {}, 2, "batch"),
        (12.1, {}, 1, "group"),
        (60.0, {}, 1, "group"),
        (12.1, {"widths": (8, 16, 32)}, 1, "group"),
        (12.1, {"batch": 4}, 4, "batch"),
        (12.1, {"accumulate": 2}, 4, "batch"),
    ],
)
def test_where_too_few_steps_fit_they_have_fewer_tiles(step, given, batch, norm, monkeypatch):
    monkeypatch.setattr("unet_jax.training.planning.rules.DENSE", 1.0)
    asked = []

    def timed(network, settings, training):
        asked.append(settings.optimisation.batch)
        return step * settings.optimisation.batch / 4

    planned, _ = plan(timed=timed, given=given)
    assert (planned.settings.optimisation.batch, planned.network.norm) == (batch, norm)
    assert asked == [4] + [batch] * (batch < 4)
    assert planned.step == step * batch / 4
    if batch < 4:
        few = f"only {600 / step:.0f} steps of 4 tiles would fit into the time"
        assert choices(planned)["batch"].reason.startswith(few)
        assert choices(planned)["norm"].value == norm


def test_a_network_that_is_given_keeps_its_batch():
    planned, asked = plan(step=60.0, choose_network=False)
    assert (planned.settings.optimisation.batch, asked) == (4, [(64, 4)])


def test_steps_that_are_given_are_not_timed():
    planned, asked = plan(seconds=None, given={"steps": 7})
    assert (planned.settings.optimisation.steps, planned.step, planned.minutes, asked) == (7, None, None, [])


@pytest.mark.parametrize(
    ("seconds", "given", "words"), [(None, {}, "a time or a number"), (60, {"steps": 3}, "not both")]
)
def test_a_time_or_a_number_of_steps(seconds, given, words):
    with pytest.raises(InputError, match=words):
        plan(seconds=seconds, given=given)


def test_a_tile_that_is_too_small_is_refused_before_anything_is_timed():
    said = []
    with pytest.raises(InputError, match="tile is 3; the minimum of this network is"):
        plan(given={"tile": 3}, announce=lambda: said.append("timing"))
    assert said == []
    plan(announce=lambda: said.append("timing"))
    assert said == ["timing"]


def test_it_is_json():
    planned, _ = plan()
    stored = json.loads(json.dumps(planned.to_dict()))
    assert stored["settings"]["steps"] == planned.settings.optimisation.steps
    assert [each["name"] for each in stored["choices"]][:2] == ["spacing", "widths"]
    assert stored["figures"]["images"] == 5
