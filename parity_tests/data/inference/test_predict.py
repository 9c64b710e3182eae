"""An image in memory: the tiles by default, all outputs, and samples."""

import numpy as np
import pytest

from unet_data import predict_image
from unet_data.inference.predict import default_plan, predict_output, sample_image
from unet_data.io.facts import FileFacts
from unet_spec import DataSpec, preset, random_tensors
from unet_spec.families.unet import PRESETS
from unet_spec.tiling.tiles import balanced_tile, plan_tiles


def test_the_whole_image_is_the_default_where_tiles_cannot_be_exact():
    config = PRESETS["same-bilinear"].replace(widths=(2, 4))
    tensors = random_tensors(config.graph, 3, np.float32)
    seen = []

    def run(x):
        seen.append(x.shape)
        return config.graph.forward(tensors, x)

    predict_image(run, np.zeros((1300, 16, 1), np.uint8), config, DataSpec())
    assert len(seen) == 1


@pytest.mark.parametrize(("dims", "pixels"), [(2, 1024), (3, 128)])
def test_tiles_have_about_1024_by_1024_or_128_cubed_pixels_by_default(dims, pixels):
    config = preset("same", widths=(2, 4), spatial_dims=dims)
    image = (5000, 4000, 3000)[:dims]
    plan = default_plan(config, image)
    assert plan == plan_tiles(config.geometry, image, balanced_tile(config.geometry, pixels))
    assert plan.tile == (pixels,) * dims


def test_an_output_has_the_logits_and_the_distance():
    config = preset("same", widths=(2, 4), distance_head=True)
    image = np.arange(12 * 20, dtype=np.uint8).reshape(12, 20, 1)

    def run(x):
        return np.concatenate([x, 2 * x, 3 * x], -1)

    plan = plan_tiles(config.geometry, (12, 20), (8, 12), halo=0)
    assert len(plan) > 1
    found = predict_output(run, image, config, DataSpec(), plan)
    np.testing.assert_allclose(found, image / 255 * [1, 2, 3], rtol=1e-6)
    np.testing.assert_array_equal(predict_image(run, image, config, DataSpec(), plan), found[..., :2])


@pytest.mark.parametrize("classes", [1, 3])
def test_samples_keep_their_order_and_their_classes(classes):
    config = preset("probabilistic-unet", out_channels=classes)
    image = np.arange(40 * 36, dtype=np.uint16).reshape(40, 36, 1)
    noise = np.array([[1.0], [20.0], [300.0]], np.float32)

    def run(windows, noise):
        each = [noise[:, 0, None, None, None] * windows * (k + 1) for k in range(classes)]
        return np.concatenate(each, -1)

    plan = plan_tiles(config.geometry, (40, 36), 32, halo=0)
    assert len(plan) > 1
    found = sample_image(run, image, config, DataSpec(), noise, plan)
    expected = noise[:, None, None] * (image / 65535) * np.arange(1, classes + 1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_samples_have_the_images_own_pixels():
    config = preset("probabilistic-unet", out_channels=2)
    data = DataSpec(spacing=(1.0, 1.0), spacing_unit="mm")
    facts = FileFacts(spacing=(2.0, 1.0), unit="mm")
    seen = []

    def run(windows, noise):
        seen.append(windows.shape[1:3])
        return np.concatenate([0 * windows, windows + 0 * windows], -1) * noise[:, :1, None, None]

    image = np.full((16, 32, 1), 255, np.uint8)
    found = sample_image(run, image, config, data, np.array([[1.0], [2.0]], np.float32), facts=facts)
    assert seen == [(32, 32)]
    assert found.shape == (2, 16, 32, 2)
    np.testing.assert_allclose((found[..., 1] - found[..., 0])[:, 3, 5], [1, 2], rtol=1e-4)
