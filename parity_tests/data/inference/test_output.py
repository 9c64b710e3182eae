"""What is written of the logits: shapes, dtypes and values, against softmax and argmax by hand."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from unet_data.inference.output import Output, most_probable, probabilities
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
