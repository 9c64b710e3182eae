"""Distances from the reference."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import Distance
from unet_export.reference import compare, default_golden_image, golden_size, whole_input
from unet_spec import Checkpoint, DataSpec, preset, random_tensors

PAPER = preset("paper", widths=(2, 4), in_channels=2)


def test_a_nan_is_infinitely_far():
    logits = np.zeros((1, 2, 2, 1))
    logits[0, 0, 0, 0] = np.nan
    assert Distance.between(logits, np.ones_like(logits)).worst_relative == np.inf


def test_the_distance_has_the_numbers_of_its_formulas():
    reference, logits = np.array([[3.0, -4.0], [0.0, 1.0]]), np.array([[3.0, -2.0], [1.0, 1.0]], np.float32)
    found = Distance.between(logits, reference)
    assert (found.worst_absolute, found.reference_max, found.worst_relative) == (2.0, 4.0, 0.5)
    assert found.rms == pytest.approx((5 / 4) ** 0.5)
    assert found.to_dict() == {
        "worst_absolute": 2.0, "rms": found.rms, "reference_max": 4.0, "worst_relative": 0.5
    }  # fmt: skip
    nothing = np.zeros((2, 2))
    assert Distance.between(nothing, nothing).worst_relative == 0.0
    assert Distance.between(logits, nothing).worst_relative == np.inf
    assert Distance.between(np.full((2, 2), np.inf), reference).reference_max == 4.0


def test_a_comparison_counts_equal_labels_of_all_inputs_together():
    reference = [np.array([[[0.0, 1.0, 9.0]] * 4]), np.array([[[1.0, 0.0, 9.0]]])]
    candidate = [a.copy() for a in reference]
    candidate[0][0, 0, 0] = 3.0
    found = compare(candidate, reference, 2)
    assert found.label_agreement == pytest.approx(4 / 5)
    assert compare(candidate, reference).label_agreement == 1.0  # of the last channel, a distance
    assert found.distance.worst_relative == pytest.approx(3 / 9)
    assert found.to_dict()["label_agreement"] == found.label_agreement
    candidate[0][0, 0, 0] = np.nan
    assert compare(candidate, reference, 2).label_agreement == 0.0


@pytest.mark.parametrize("dims", [2, 3])
def test_the_golden_image_is_small_off_the_grid_and_of_another_size_on_each_axis(dims):
    config = PAPER.replace(spatial_dims=dims)
    geometry, point = config.geometry, Checkpoint(config, random_tensors(config.graph, 0), DataSpec())
    smallest = 24 if dims == 2 else 8
    size = golden_size(geometry)
    assert size == tuple(smallest + axis * geometry.grid(axis).step + 1 for axis in range(dims))
    assert all(geometry.grid(axis).above(n) != n for axis, n in enumerate(size))
    image = default_golden_image(point)
    assert (image.shape, image.dtype) == ((*size, 2), np.uint8)
    np.testing.assert_array_equal(image, default_golden_image(point))
    assert abs(image.mean() - 127.5) < 30
    assert 45 < image.std() < 70
    rough = np.abs(np.diff(image.astype(float), axis=0)).mean()
    assert rough < 0.75 * np.abs(image - np.roll(image.astype(float), 7, 0)).mean(), "it is blurred"


@pytest.mark.parametrize(("dims", "largest"), [(2, 193), (3, 24)])
def test_the_golden_image_is_the_middle_of_the_last_image(dims, largest):
    config = PAPER.replace(spatial_dims=dims)
    point = Checkpoint(config, random_tensors(config.graph, 0), DataSpec())
    long = np.zeros((largest + 7, *[5] * (dims - 1), 2), np.uint8)
    long[...] = np.arange(largest + 7).reshape(-1, *[1] * dims) % 251
    found = default_golden_image(point, [long[:3], long])
    np.testing.assert_array_equal(found, long[3 : 3 + largest])
    assert found.flags["C_CONTIGUOUS"]


def test_the_whole_input_is_mirrored_at_its_edges():
    image = np.random.default_rng(0).normal(size=(25, 31, 2)).astype(np.float32)
    found = whole_input(PAPER.geometry, image)
    margin = PAPER.geometry.margin(0)
    assert found.shape[0] == 1
    np.testing.assert_array_equal(found[0, margin : margin + 25, margin : margin + 31], image)
    np.testing.assert_array_equal(found[0, :margin, margin : margin + 31], image[margin:0:-1])
    assert PAPER.geometry.output_shape(found.shape[1:-1]) >= (25, 31)


@pytest.mark.parametrize(
    ("dims", "expected"),
    [
        (2, [84, 142, 211, 111, 192, 83, 120, 7, 0, 69, 155, 217]),
        (3, [27, 58, 114, 72, 187, 121, 89, 58, 163, 67, 91, 61]),
    ],
)
def test_the_golden_image_is_the_same_in_every_version(dims, expected):
    """It uses the whole range of uint8; a value may differ by the rounding of another processor."""
    config = PAPER.replace(spatial_dims=dims)
    image = default_golden_image(Checkpoint(config, random_tensors(config.graph, 0), DataSpec())).reshape(-1)
    assert np.abs(image[:: len(image) // 12][:12].astype(int) - expected).max() <= 1
    assert (image.min(), image.max()) == (0, 255)
