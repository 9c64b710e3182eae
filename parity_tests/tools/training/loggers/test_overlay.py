"""The overlay of a validation image: compiled once; for a volume, the middle plane."""

import numpy as np

from unet_data import membranes, most_probable, predict_image
from unet_jax import JaxRuntime, UNet
from unet_spec import preset
from unet_tools.training.loggers.overlay import WRONG, Overlay

CONFIG = preset("paper", widths=(2, 4), dropout=0.0)


def test_the_network_is_compiled_once_and_each_overlay_shows_the_last_weights(tmp_path):
    overlay = Overlay(tmp_path, membranes(2, 48, 0))
    runtimes = []
    for seed in (0, 1):
        UNet(CONFIG, seed).save_pretrained(tmp_path / "last")
        shown = overlay.draw()
        runtimes.append(overlay.runtime)
    assert runtimes[0] is runtimes[1]
    assert runtimes[0]._apply._cache_size() == 1
    assert (shown == Overlay(tmp_path, membranes(2, 48, 0)).draw()).all()


def test_of_a_volume_the_middle_plane_is_shown(tmp_path):
    model = UNet(CONFIG.replace(spatial_dims=3, padding="same"), 0)
    model.save_pretrained(tmp_path / "last")
    validation = membranes(1, 16, 0, spatial_dims=3)
    image, truth = validation.images[0], validation.labels[0]
    guess = most_probable(predict_image(JaxRuntime(model).run, image, model.config, model.data))
    wrong = (guess != truth)[len(truth) // 2]
    assert 0.05 < wrong.mean() < 0.95
    shown = Overlay(tmp_path, validation).draw()
    assert ((shown == WRONG).all(-1) == wrong).all()
    grey = shown[~wrong]
    assert (grey == grey[:, :1]).all()
    assert np.ptp(grey) > 100
