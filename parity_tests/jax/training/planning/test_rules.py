"""The rules of a plan, each at the figure where its choice changes."""

from dataclasses import replace

import pytest

from unet_data import fingerprint, membranes
from unet_jax import preset
from unet_jax.training.planning.rules import AUTO, data_rules, levels, network_rules, padding, tile

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
