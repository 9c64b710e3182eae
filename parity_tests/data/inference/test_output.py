"""What is written of the logits: shapes, dtypes and values, against softmax and argmax by hand."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from unet_data.inference.output import Chances, Output, class_shares, most_probable, on_own_pixels, probabilities
from unet_data.spacing.grids import Grids
from unet_spec import InputError, preset

LOGITS = {k: np.random.default_rng(k).normal(0, 5, (3, 4, k)).astype(np.float32) for k in (1, 2, 5)}


@pytest.mark.parametrize("channels", LOGITS)
@pytest.mark.parametrize("kind", ["labels", "probabilities", "logits"])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_a_pixel_has_the_shape_and_dtype_that_are_announced(channels, kind, dtype):
    if (kind, dtype) == ("logits", "uint8"):
        with pytest.raises(InputError, match="logits cannot be written as uint8"):
            Output(kind, dtype)
        return
    output = Output(kind, dtype)
    shape, pixel_dtype = output.pixel(preset("paper", out_channels=channels))
    written = output.of(LOGITS[channels])
    assert written.shape == (3, 4, *shape)
    assert written.dtype == pixel_dtype


def test_one_channel_is_a_sigmoid_and_more_are_a_softmax():
    np.testing.assert_allclose(probabilities(LOGITS[1])[..., 1], expit(LOGITS[1][..., 0]), rtol=1e-5)
    np.testing.assert_allclose(probabilities(LOGITS[5]), softmax(LOGITS[5], -1), rtol=1e-5)
    written = Output("probabilities", "uint8").of(LOGITS[2])
    np.testing.assert_array_equal(written, np.round(softmax(LOGITS[2], -1)[..., 1] * 255))


def test_logits_too_large_for_an_exponential_give_no_nan():
    assert probabilities(np.array([[1e4, -1e4]], np.float32)).tolist() == [[1, 0]]


def test_of_equal_classes_the_first_is_taken():
    assert most_probable(np.zeros((2, 3))).tolist() == [0, 0]
    assert most_probable(np.array([[0.0], [1e-6], [-1]])).tolist() == [0, 1, 0]
    assert most_probable(np.zeros((1, 257))).dtype == np.uint16


def test_classes_that_overlap_are_written_each_for_itself():
    logits = np.array([[2.0, -1.0, 0.5], [-3.0, -2.0, 400.0]], np.float32)
    config = preset("same", out_channels=3)
    labels, chances = (Output(kind, overlapping=True) for kind in ("labels", "probabilities"))
    assert labels.of(logits).tolist() == [[1, 0, 1], [0, 0, 1]]
    assert labels.pixel(config) == ((3,), np.dtype(np.uint8))
    np.testing.assert_allclose(chances.of(logits), 1 / (1 + np.exp(-logits.astype(np.float64))), rtol=1e-6)
    two = np.zeros((1, 2), np.float32)  # no channel is left out
    assert chances.of(two).shape == (1, 2)


@pytest.mark.parametrize("channels", LOGITS)
@pytest.mark.parametrize("kind", ["labels", "probabilities", "logits", "objects"])
def test_a_distance_is_no_class(channels, kind):
    config = preset("same", out_channels=channels, distance_head=True)
    distance = np.linspace(-1, 2, 12, dtype=np.float32).reshape(3, 4, 1) * 100
    output, dtype = np.concatenate([LOGITS[channels], distance], -1), "float32" if kind == "logits" else "uint8"
    written = Output(kind, dtype, distance=True)
    found = written.of(output)
    assert (found.shape[2:], found.dtype) == written.pixel(config)
    if kind == "objects":
        classes = np.round(probabilities(LOGITS[channels]) * 255)
        np.testing.assert_array_equal(found[..., :-1], classes)
        np.testing.assert_array_equal(found[..., -1], 255 * (distance[..., 0] > 0))
    elif kind == "logits":
        np.testing.assert_array_equal(found, output)
    else:
        np.testing.assert_array_equal(found, Output(kind, dtype).of(LOGITS[channels]))


@pytest.mark.parametrize(("classes", "dtype"), [(256, np.uint8), (257, np.uint16)])
def test_labels_beyond_256_classes_need_16_bits(classes, dtype):
    assert Output().pixel(preset("same", out_channels=classes)) == ((), np.dtype(dtype))
    assert most_probable(np.zeros((1, classes))).dtype == dtype


def test_logits_of_overlapping_classes_are_written_as_they_are():
    config = preset("same", out_channels=3, distance_head=True)
    assert Output("logits", "float16", overlapping=True).pixel(config) == ((4,), np.dtype(np.float16))
    assert Output("probabilities", "float16", overlapping=True).pixel(config) == ((3,), np.dtype(np.float16))


def test_sigmoids_of_extreme_logits_are_exact():
    with np.errstate(over="raise"):
        found = probabilities(np.array([[1e4, -1e4, 0.0]], np.float32), overlapping=True)
    assert found.tolist() == [[1, 0, 0.5]]
    assert found.dtype == np.float32


def test_shares_of_parts_are_those_of_the_whole():
    parts = [np.array([[0, 2], [2, 2]]), np.array([1]), np.array([], int)]
    assert class_shares(parts, 4, masks=False) == (0.2, 0.2, 0.6, 0.0)
    masks = [np.array([[[1, 0, 1]], [[1, 1, 0]]], np.uint8), np.array([[0, 0, 1], [0, 0, 0]], np.uint8)]
    assert class_shares(masks, 3, masks=True) == (0.5, 0.25, 0.5)
    assert class_shares([], 2, masks=False) == (0.0, 0.0)
    many = class_shares([np.ones((300, 2), np.uint8)], 2, masks=True)  # more than 255
    assert many == (1.0, 1.0)


@pytest.mark.parametrize("distance", [False, True])
@pytest.mark.parametrize(("channels", "overlapping"), [(1, False), (1, True), (3, False), (3, True)])
def test_chances_are_read_and_written_back(channels, overlapping, distance):
    config = preset("same", out_channels=channels, distance_head=distance)
    outputs = np.random.default_rng(0).normal(0, 3, (4, 5, channels + distance)).astype(np.float32)
    chances = Chances(outputs, config, overlapping)
    whole = chances[slice(0, 4), slice(0, 5)]
    assert (chances.shape, chances.ndim) == (whole.shape, 3)
    assert (whole[..., : whole.shape[-1] - distance] <= 1).all()
    back = chances.outputs_of(whole)
    assert (back.shape, back.dtype) == (outputs.shape, np.float32)
    np.testing.assert_allclose(
        probabilities(back[..., :channels], overlapping),
        probabilities(outputs[..., :channels], overlapping),
        rtol=1e-4,
        atol=1e-6,
    )
    np.testing.assert_array_equal(back[..., channels:], outputs[..., channels:])


@pytest.mark.parametrize("overlapping", [False, True])
def test_certain_chances_give_finite_outputs(overlapping):
    config = preset("same", out_channels=2)
    found = Chances(np.zeros((1, 1, 2)), config, overlapping).outputs_of(np.array([[[1.0, 0.0]]]))
    assert np.isfinite(found).all()
    assert found[0, 0, 0] > 80 + found[0, 0, 1]


def test_own_pixels_are_computed_in_bands(monkeypatch):
    monkeypatch.setattr("unet_data.inference.output.BAND", 18)
    config, grids = preset("same"), Grids((10, 6), (5, 3), (3, 3))
    outputs = np.random.default_rng(0).normal(size=(5, 3, 2)).astype(np.float32)
    whole = on_own_pixels(outputs, grids, config, False, (slice(0, 10), slice(0, 6)))
    np.testing.assert_array_equal(on_own_pixels(outputs, grids, config, False), whole)
