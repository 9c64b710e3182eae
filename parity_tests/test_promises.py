"""The numbers that documentation and help state, each repeated here by hand."""

import pytest

from unet_data.inference.predict import TILE_PIXELS
from unet_data.inference.views import PAPER_ROTATIONS
from unet_export import FLOAT32_BOUND, Profile
from unet_export.precision.formats import AGREEMENT, MINIMUM_CAPABILITY
from unet_export.runtimes.mnn_runtime import DEVIATION
from unet_spec import preset
from unet_spec.tiling.planner import Limits, plan_image
from unet_spec.tiling.tiles import full_halo
from unet_tools.training.demo import TILING_BOUND

SAME = preset("paper", widths=(2, 3), padding="same").geometry


def test_the_paper_rotates_by_seven_equal_steps():
    assert (
        pytest.approx((0.0, 51.428571, 102.857143, 154.285714, 205.714286, 257.142857, 308.571429)) == PAPER_ROTATIONS
    )


def test_bounds_of_the_runtimes():
    assert (FLOAT32_BOUND, DEVIATION, TILING_BOUND) == (1e-5, 2e-3, 1e-5)


def test_minimum_shares_of_equal_labels():
    assert AGREEMENT == {"fp32": 0.9999, "tf32": 0.999, "fp16": 0.999, "bf16": 0.999, "int8": 0.995, "fp8": 0.99}
    assert MINIMUM_CAPABILITY == {"tf32": 80, "bf16": 80, "fp8": 89}


@pytest.mark.parametrize(
    ("name", "batches"), [("latency", (1, 1, 1)), ("throughput", (1, 8, 16)), ("general", (1, 1, 4))]
)
def test_sizes_that_engines_are_for(name, batches):
    """The help of unet export names the batches; sizes go from the smallest image to the paper's tile."""
    profile = Profile.named(name, preset("paper").geometry)
    assert (profile.min[0], profile.opt[0], profile.max[0]) == batches
    assert (profile.min[1:], profile.opt[1:], profile.max[1:]) == ((188, 188), (572, 572), (572, 572))
    volumes = Profile.named(name, preset("same", widths=(2, 3), spatial_dims=3).geometry)
    assert volumes.opt[1:] == volumes.max[1:] == (132, 132, 132)


@pytest.mark.parametrize("more", [0, 1, 7])
def test_a_halo_larger_than_needed_risks_no_pixel(more):
    (halo,) = {max(full_halo(SAME, axis)) for axis in range(2)}
    plan = plan_image(SAME, (200, 300), limits=Limits(tile=(64, 64), halo=halo + more))
    assert plan.at_risk == 0
    less = plan_image(SAME, (200, 300), limits=Limits(tile=(64, 64), halo=halo - 4))
    assert 0 < less.at_risk < 1


@pytest.mark.parametrize("held", [1, 2**22, 3 * 2**23])
def test_what_the_process_holds_leaves_less_for_tiles(held):
    """A budget that includes the weights and everything loaded equals the budget minus these bytes."""
    limits = {"budget": 2**25, "batch": 16}
    plan = plan_image(SAME, (900, 700), limits=Limits(**limits, held=held))
    assert plan == plan_image(SAME, (900, 700), limits=Limits(**limits | {"budget": 2**25 - held}))
    assert plan.memory <= 2**25 - held
    free = plan_image(SAME, (900, 700), limits=Limits(**limits))
    assert plan.work >= free.work


def test_the_tile_that_is_taken_where_none_is_given():
    """docs/large-images.md and `unet predict --tile` state them."""
    assert TILE_PIXELS == {2: 1024, 3: 128}
