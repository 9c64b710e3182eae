"""The noise of a latent variable."""

import numpy as np
import pytest

from unet_spec import InputError, preset
from unet_spec.ops import check_noise, draw_noise

PROBABILISTIC = preset("probabilistic-unet", widths=(4, 6), latent=3, convolutions=1)


def test_noise_is_checked_and_repeats():
    graph = PROBABILISTIC.graph
    noise = draw_noise(graph, 4, 7)
    assert noise.shape == (4, 3)
    assert noise.dtype == np.float32
    np.testing.assert_array_equal(noise, draw_noise(graph, 4, 7))
    assert (noise != draw_noise(graph, 4, 7, 1)).all()
    assert check_noise(graph, 1, noise) == "noise"
    with pytest.raises(InputError, match=r"the noise has shape \(4, 3\); expected \(2, 3\)"):
        check_noise(graph, 2, noise)
    with pytest.raises(InputError, match="no latent variable"):
        draw_noise(preset("sa-unet").graph, 1, 0)


@pytest.mark.parametrize(
    ("samples", "seed", "words"),
    [
        (0, 0, "samples is 0"),
        (1, -1, "seed -1"),
        (10_001, 0, "samples is 10001; at most 10000"),
        (10**50, 0, "at most"),
    ],
)
def test_numbers_out_of_range_are_refused(samples, seed, words):
    with pytest.raises(InputError, match=words):
        draw_noise(PROBABILISTIC.graph, samples, seed)
