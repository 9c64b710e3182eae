"""Volumes whose axes differ: depth, kernels, strides and tile, and a plan with them."""

import math
from dataclasses import replace
from typing import Any

import pytest

from unet_data import FileFacts, choose_spacing, fingerprint, membranes, resample_dataset
from unet_jax import plan_training, preset
from unet_jax.training.planning.volumes import VOXELS, staged_network, stages, volume_norm, volume_tile

FIGURES = fingerprint(membranes(2, 64, seed=0))
PLANE, CUBE = (1, 3, 3), (3, 3, 3)


def figures(size, spacing=None):
    return replace(FIGURES, smallest=size, median=size, largest=size, spacing=spacing)


@pytest.mark.parametrize(
    ("size", "spacing", "kernels", "strides"),
    [
        # Five times as far apart: the depth is halved once its pixels are at most twice as large.
        ((20, 512, 512), (5.0, 1.0, 1.0), (PLANE, PLANE, CUBE, CUBE), ((1, 2, 2), (1, 2, 2), (2, 2, 2))),
        # 2.01 times as far apart is coarse at first, twice is not.
        ((64, 64, 64), (2.01, 1.0, 1.0), (PLANE, CUBE, CUBE, CUBE), ((1, 2, 2), (2, 2, 2), (2, 2, 2))),
        # The coarse axis need not be the depth, and units do not matter.
        ((64, 64, 64), (0.1, 0.3, 0.1), ((3, 1, 3), CUBE, CUBE, CUBE), ((2, 1, 2), (2, 2, 2), (2, 2, 2))),
        # Few planes, no pixel size: the depth is halved to 8, and keeps its kernel.
        ((16, 512, 512), None, (CUBE, CUBE, CUBE, CUBE), ((2, 2, 2), (1, 2, 2), (1, 2, 2))),
        # The finer axes are too small to be halved again: then the coarse one is.
        ((64, 16, 16), (4.0, 1.0, 1.0), (PLANE, CUBE, CUBE, CUBE), ((1, 2, 2), (2, 1, 1), (2, 1, 1))),
    ],
)
def test_each_axis_is_halved_on_its_own(size, spacing, kernels, strides):
    found = stages(figures(size, spacing))
    assert found is not None
    assert (found.kernels, found.strides) == (kernels, ((1, 1, 1), *strides))
    assert "x".join(map(str, size)) in found.reason
    assert ("no file states" in found.reason) == (spacing is None)


@pytest.mark.parametrize(
    ("size", "spacing"),
    [((128,) * 3, None), ((64, 128, 128), (2.0, 1.0, 1.0)), ((64, 64), (5.0, 1.0)), ((9, 9, 9), (5.0, 1.0, 1.0))],
)
def test_axes_that_are_alike_need_no_stages(size, spacing):
    assert stages(figures(size, spacing)) is None


def test_the_number_of_levels_may_be_given():
    of = figures((20, 64, 64), (5.0, 1.0, 1.0))
    three = stages(of, 3)
    assert three is not None
    assert three.strides == ((1, 1, 1), (1, 2, 2), (1, 2, 2))
    assert stages(of, 6) is None  # 64 pixels cannot be halved five times


@pytest.mark.parametrize(
    ("size", "spacing", "tile"),
    [
        ((20, 60, 63), (5.0, 1.0, 1.0), (20, 60, 64)),  # covered, on the network's grid
        ((20, 512, 512), (5.0, 1.0, 1.0), (20, 120, 120)),
        ((100, 512, 512), (5.0, 1.0, 1.0), (22, 112, 112)),  # 110 x 112 x 112 pixels of the finest axis
        ((16, 512, 512), None, (16, 136, 136)),
    ],
)
def test_the_tile_has_one_length_along_all_axes_and_fits(size, spacing, tile):
    of = figures(size, spacing)
    found = stages(of)
    assert found is not None
    network = staged_network(preset("paper", spatial_dims=3), found, (2, 4, 8, 16))
    choice = volume_tile(of, network)
    assert choice.value == tile
    assert math.prod(choice.value) <= VOXELS
    assert network.geometry.output_shape(choice.value) == choice.value
    assert choice.reason.startswith("covers" if size[1] < 100 else "a part of")


def volumes(spacing):
    dataset = membranes(3, 32, seed=0, spatial_dims=3)
    thin = tuple(image[:16] for image in dataset.images)
    labels = tuple(label[:16] for label in dataset.labels)
    return replace(dataset, images=thin, labels=labels, facts=tuple(FileFacts(spacing=spacing) for _ in thin))


def test_pixel_sizes_that_differ_are_said():
    dataset = volumes((5.0, 1.0, 1.0))
    mixed = replace(dataset, facts=(FileFacts(spacing=(7.0, 1.0, 1.0)), *dataset.facts[1:]))
    with pytest.warns(UserWarning, match="differ by a factor of up to 1.4 along an axis, and images are not resampled"):
        plan_training(preset("paper", spatial_dims=3), mixed, given={"steps": 5}, seconds=None)


def plan(given=None, network=None, spacing=(5.0, 1.0, 1.0)) -> Any:
    given = {"steps": 5} | (given or {})
    return plan_training(network or preset("paper", spatial_dims=3), volumes(spacing), given=given, seconds=None)


def test_a_plan_for_thick_sections_is_a_network_that_segments_them():
    planned = plan()
    network = planned.network
    assert (network.architecture, network.widths) == ("staged-unet", (16, 32, 64, 128))
    assert network.kernels == (PLANE, PLANE, CUBE, CUBE)
    assert network.strides == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 1, 1))
    assert (network.norm, network.in_channels, network.out_channels, network.sides) == ("batch", 1, 2, 0)
    assert planned.settings.data.tile_shape(network) == planned.settings.data.tile == (16, 32, 32)
    assert plan({"batch": 1}).network.norm == "instance"
    assert plan({"widths": (2, 4)}).network.strides == ((1, 1, 1), (1, 2, 2))
    assert plan(spacing=(1.0, 1.0, 1.0)).network.strides[1] == (2, 2, 2)


@pytest.mark.parametrize(
    "given", [{"padding": "same"}, {"norm": "group"}, {"norm_groups": 4}, {"dropout": 0.5}, {"widths": (2,) * 7}]
)
def test_what_such_a_network_does_not_have_leads_to_the_plain_one(given):
    planned = plan(given)
    assert planned.network.architecture == "unet"
    for name, value in given.items():
        assert getattr(planned.network, name) == value


def test_a_distance_head_leads_to_the_plain_network():
    assert plan(network=preset("paper", spatial_dims=3, distance_head=True)).network.architecture == "unet"


def test_the_plan_says_to_which_pixel_size_images_are_resampled():
    [choice] = [c for c in plan().choices if c.name == "spacing"]
    assert (choice.value, choice.reason) == ("none", "all images have pixels of 5 x 1 x 1")
    dataset = volumes((5.0, 1.0, 1.0))
    mixed = replace(dataset, facts=(FileFacts(spacing=(7.5, 1.0, 1.0)), *dataset.facts[1:]))
    resampled = resample_dataset(mixed, choose_spacing(mixed))
    planned = plan_training(preset("paper", spatial_dims=3), resampled, given={"steps": 5}, seconds=None)
    [choice] = [c for c in planned.choices if c.name == "spacing"]
    assert (choice.value, planned.settings.data.spacing) == ("5,1,1", "5,1,1")
    assert choice.reason.startswith("the median of pixel sizes that differ by a factor of up to 1.5; along the coarse")
    for asked, given in (("auto", False), ("5,1,1", True)):
        chosen = {"steps": 5, "spacing": asked}
        planned = plan_training(preset("paper", spatial_dims=3), resampled, given=chosen, seconds=None)
        [choice] = [c for c in planned.choices if c.name == "spacing"]
        assert (choice.value, choice.given) == ("5,1,1", given)


@pytest.mark.parametrize(("together", "norm"), [(1, "instance"), (2, "batch")])
def test_a_norm_of_one_tile_is_that_of_the_instance(together, norm):
    assert volume_norm(together).value == norm


def test_a_tile_has_at_most_as_many_voxels_as_one_of_68_along_each_axis():
    assert VOXELS == 68**3
    network = preset("same", widths=(2, 4), spatial_dims=3)
    assert volume_tile(figures((68, 68, 68)), network).value == (68, 68, 68)
    assert volume_tile(figures((68, 68, 69)), network).value == (68, 68, 68)
    assert volume_tile(figures((68, 68, 69)), network).reason.startswith("a part of a volume of 68x68x69")


def test_a_tile_is_square_where_pixels_are():
    network = preset("same", widths=(2, 4), spatial_dims=3)
    assert volume_tile(figures((40, 60, 400), (1.0, 1.0, 1.0)), network).value == (40, 60, 60)
    rows, columns = volume_tile(figures((40, 400, 400), (1.0, 1.0, 2.0)), network).value[1:]
    assert rows > 1.5 * columns  # as long in the specimen, not in pixels


def test_the_reason_of_the_stages_has_the_pixel_sizes_relative_to_the_finest():
    found = stages(figures((20, 512, 512), (5.0, 0.5, 0.5)))
    assert found is not None
    assert found.reason == "volumes with a median size of 20x512x512; pixels of 10x1x1"


def test_one_axis_that_is_coarser_is_halved_later_and_a_kernel_once_had_is_kept():
    found = stages(figures((8, 128, 128), (1.0, 1.0, 1.0)))  # the depth is never halved, so it becomes the finest
    assert found is not None
    assert found.kernels == (CUBE,) * 4
    assert found.strides == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 2, 2))
