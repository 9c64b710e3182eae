"""The rules of a plan, each at the figure where its choice changes."""

from dataclasses import replace

import pytest

from unet_data import fingerprint, membranes
from unet_jax import preset
from unet_jax.training.planning.rules import AUTO, data_rules, fixed_rules, levels, network_rules, padding, tile

FIGURES = fingerprint(membranes(2, 64, seed=0))


def figures(side=512, dims=2, **changes):
    size = (side,) * dims
    return replace(FIGURES, smallest=size, median=size, largest=size, **changes)


def ruled(of, **settings):
    return data_rules(of, AUTO.settings.replace(**settings))


@pytest.mark.parametrize(("side", "count"), [(1024, 4), (64, 4), (63, 3), (32, 3), (31, 2), (16, 2), (5, 2)])
def test_the_deepest_level_has_eight_pixels(side, count):
    found, reason = levels(figures(side))
    assert found == count
    assert f"{side}x{side}" in reason


@pytest.mark.parametrize(("side", "dims", "value"), [(159, 2, "same"), (160, 2, "valid"), (512, 3, "same")])
def test_small_images_and_volumes_are_padded(side, dims, value):
    assert padding(figures(side, dims)).value == value


@pytest.mark.parametrize(
    ("side", "network", "value"),
    [
        (512, preset("paper", widths=(2, 4, 8, 16)), 252),
        (96, preset("same", widths=(2, 4, 8, 16)), 96),
        (100, preset("same", widths=(2, 4, 8, 16)), 104),  # the next multiple of 8
        (40, preset("paper", widths=(2, 4)), 56),  # 8 more on each side
        (251, preset("same", widths=(2, 4)), 252),
    ],
)
def test_the_tile_covers_a_small_image(side, network, value):
    chosen = tile(figures(side), network).value
    assert chosen == value
    assert network.geometry.output_shape((chosen,) * 2)[0] >= min(side, 164)


@pytest.mark.parametrize(("spread", "value"), [(1.01, "image"), (1.0, "dataset"), (0.0, "dataset")])
def test_images_unlike_each_other_are_normalised_each_by_its_own(spread, value):
    chosen = {choice.name: choice for choice in ruled(figures(spread=spread))}
    assert chosen["normalization"].value == value
    assert f"{spread:.2f}" in chosen["normalization"].reason


@pytest.mark.parametrize(("touching", "value"), [(0.5, 10.0), (0.02, 10.0), (0.01, 0.0)])
def test_objects_that_touch_weigh_their_borders(touching, value):
    chosen = {choice.name: choice.value for choice in ruled(figures(objects=100, touching=touching))}
    assert chosen["border_weight"] == value


def test_labels_without_numbers_and_classes_that_overlap_have_no_borders():
    assert "border_weight" not in [choice.name for choice in ruled(figures())]
    both = figures(objects=100, touching=0.5, overlapping=True)
    assert "border_weight" not in [choice.name for choice in ruled(both)]


@pytest.mark.parametrize(("share", "value"), [(0.019, 0.33), (0.02, 0.0)])
def test_tiles_of_a_rare_class_are_drawn_more_often(share, value):
    chosen = {choice.name: choice for choice in ruled(figures(shares=(1 - share, share, 0.0)))}
    assert chosen["oversample"].value == value
    assert f"{share:.2%}" in chosen["oversample"].reason


@pytest.mark.parametrize("settings", [{"loss": "dice"}, {"loss": "tversky"}, {"objects": True}])
def test_no_border_weight_for_a_loss_without_it_or_beside_a_border_class(settings):
    touching = figures(objects=100, touching=0.5)
    assert "border_weight" in [choice.name for choice in ruled(touching, loss="focal")]
    assert "border_weight" not in [choice.name for choice in ruled(touching, **settings)]


@pytest.mark.parametrize(
    ("shares", "together", "norm"),
    [
        ((0.49, 0.51), 4, "group"),
        ((0.5, 0.5), 4, "batch"),
        ((0.9, 0.1), 4, "batch"),
        ((0.9, 0.1), 1, "group"),
        ((0.1, 0.8, 0.1), 4, "batch"),
    ],
)
def test_group_norm_where_cells_fill_the_image_or_one_tile_passes_at_a_time(shares, together, norm):
    chosen = {choice.name: choice for choice in network_rules(figures(shares=shares), together)}
    assert chosen["norm"].value == norm


@pytest.mark.parametrize(
    ("median", "count", "words"),
    [
        ((64, 100), 4, "images with a median size of 64x100: large enough for 4 levels"),
        ((63, 100), 3, "images with a median size of 63x100: the deepest of 3 levels has 15 pixels"),
        ((500, 500), 4, "large enough for 4 levels"),
        ((10, 10), 2, "the deepest of 2 levels has 5 pixels"),
    ],
)
def test_the_reason_of_the_levels_is_their_own(median, count, words):
    found, reason = levels(replace(FIGURES, median=median))
    assert found == count
    assert words in reason


def test_the_median_image_decides_and_its_axes_may_differ():
    small = replace(FIGURES, median=(159, 400))
    assert padding(small).reason == "images of 159 pixels: the margin of valid convolutions is as large"
    assert padding(replace(FIGURES, median=(400, 160))).reason.startswith("images of 160 pixels or more")
    same = preset("same", widths=(2, 4, 8))
    assert tile(replace(FIGURES, median=(60, 100)), same).value == 100
    assert tile(replace(FIGURES, median=(252, 60)), same).reason == "images of up to 252 pixels: the usual size"
    volume = preset("same", widths=(2, 4), spatial_dims=3)
    assert tile(replace(FIGURES, median=(30, 67, 20)), volume).value == 68
    assert tile(replace(FIGURES, median=(30, 30, 31)), volume).value == 32
    assert tile(replace(FIGURES, median=(30, 30, 90)), volume).value == 68


def test_what_is_fixed_is_that_of_the_settings_and_adamw_has_a_rate():
    settings = AUTO.settings.replace(batch=7, learning_rate=0.5, ema=0.25, turns=False, rotation=90.0, elastic=3.0)
    found = {choice.name: choice.value for choice in fixed_rules(settings)}
    assert found == {
        "batch": 7, "learning_rate": 0.5, "ema": 0.25, "turns": False, "mirror": True, "rotation": 90.0, "elastic": 3.0,
    }  # fmt: skip
    assert "learning_rate" not in [choice.name for choice in fixed_rules(settings.replace(optimizer="sgd"))]


@pytest.mark.parametrize(("together", "words"), [(2, "the same result in less time"), (1, "one tile at a time")])
def test_the_reason_of_the_norm(together, words):
    norm, dropout = network_rules(figures(shares=(0.9, 0.1)), together)
    assert words in norm.reason
    assert (dropout.name, dropout.value) == ("dropout", 0.0)
    filled = next(iter(network_rules(figures(shares=(0.2, 0.8)), 2)))
    assert filled.reason == "cell has 80% of the pixels: its borders matter most"


def test_the_loss_is_that_of_both_and_reasons_have_their_figures():
    chosen = {choice.name: choice for choice in ruled(figures(objects=40, touching=0.25, shares=(0.9, 0.1)))}
    assert chosen["loss"].value == "cross_entropy+dice"
    assert chosen["oversample"].reason == "the rarest class has 10.00% of the pixels"
    assert chosen["border_weight"].reason == "25% of 40 objects touch another one"
