"""How objects are made is chosen by labelled images; the maps that they are made of."""

import numpy as np
import pytest

from unet_data import Dataset, ObjectSettings, choose_object_settings, instance_scores, objects_of
from unet_data.datasets.label_rule import IGNORED
from unet_data.metrics import instances
from unet_data.metrics.instances import _changes, object_maps
from unet_spec import DataSpec, InputError, preset

from ..objects.maps import discs


def touching():
    """Pairs of touching discs, and specks of 2 pixels that are no objects, in a map of low probabilities."""
    circles = [(20, 20, 10), (20, 37, 9), (60, 25, 12), (60, 46, 11)]
    truth = np.zeros((80, 70), int)
    for number, circle in enumerate(circles, start=1):
        truth[(discs(truth.shape, [circle]) > 0) & (truth == 0)] = number
    p = (truth > 0) * 0.45
    p[5, 5:7] = p[40, 60:62] = 0.45
    return p, truth


def test_threshold_neck_and_size_are_found():
    p, truth = touching()
    before = instance_scores([truth], [objects_of(p)[0]])["ap_mean"]
    settings, score = choose_object_settings([p], [truth])
    assert np.isnan(before) or before == 0
    assert score > 0.9
    assert settings.core <= 0.45
    assert objects_of(p, settings)[0].max() == 4
    assert instance_scores([truth], [objects_of(p, settings)[0]])["ap_mean"] == score
    assert choose_object_settings([p], [truth]) == (settings, score)  # nothing is drawn


def test_the_border_class_and_spacing_stay():
    p, truth = touching()
    three = np.stack([1 - p, p, 0 * p], -1)
    settings, _ = choose_object_settings([three], [truth], ObjectSettings("probability", border=2, spacing=(1, 1)))
    assert (settings.border, settings.spacing) == (2, (1, 1))


def test_without_objects_nothing_can_be_chosen():
    with pytest.raises(InputError, match="no object"):
        choose_object_settings([np.zeros((4, 4))], [np.zeros((4, 4), int)])


@pytest.mark.parametrize("classes", [2, 3])
def test_maps_are_those_of_predictions_and_ignored_pixels_are_background(classes):
    image = np.zeros((8, 9, 1), np.float32)
    label = np.zeros((8, 9), np.int32)
    label[2, 3] = IGNORED
    data = Dataset((image,), (label,), ("a",), tuple("xyz"[:classes]), "example", ignore=255)

    def run(images):
        return np.concatenate([images, images + 1, images][:classes], -1)

    [got] = object_maps(run, preset("same", out_channels=classes), DataSpec(), data)
    p = np.exp([0, 1, 0][:classes]) / np.exp([0, 1, 0][:classes]).sum()
    expected = np.round(255 * p).astype(np.uint8)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got[0, 0], expected if classes == 3 else expected[1])
    np.testing.assert_array_equal(got[2, 3], [255, 0, 0] if classes == 3 else 0)


@pytest.mark.parametrize(
    ("shape", "sizes", "reach"),
    [
        ((60, 60), [20], 8),  # the smallest reach
        ((60, 60), [300, 20], 15),  # 1.5 × √(300 / π) = 14.66
        ((30, 20, 20), [9000], 20),  # 1.5 × ∛(3 × 9000 / 4π) = 19.35
        ((300, 300), [300 * 299], 128),  # the largest
    ],
)
def test_the_reach_is_one_and_a_half_radii_of_the_largest_object(shape, sizes, reach, monkeypatch):
    truth = np.zeros(shape, int)
    start = 0
    for number, size in enumerate(sizes, start=1):
        truth.reshape(-1)[start : start + size] = number
        start += size
    monkeypatch.setattr(instances, "_changes", lambda *_: iter(()))
    monkeypatch.setattr(instances, "objects_of", lambda maps, settings, dims: (truth, None))
    assert choose_object_settings([truth > 0], [truth]) == (ObjectSettings(reach=reach), 1.0)


def test_the_changes_that_are_tried():
    sizes = np.array([10, 100, 400])

    def tried(settings):
        found: dict[str, list] = {}
        for change in _changes(settings, sizes):
            found.setdefault("+".join(change), []).append(tuple(change.values()))
        return {k: [v[0] if len(v) == 1 else v for v in values] for k, values in found.items()}

    base = {
        "method": list(tried(ObjectSettings())["method"]),
        "neck": [0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.0],
        "core+foreground": [(core, min(core, ObjectSettings().foreground)) for core in (0.3, 0.4, 0.5, 0.6, 0.7)],
        "smoothing": [0, 1, 2],
        "minimum_size": [1, 5, 10, 10],
        "fill_holes": [0, 12],
    }
    assert "predicted" not in base["method"]
    assert len(base["method"]) >= 2
    assert tried(ObjectSettings()) == base
    grown = base | {"grow": [0, 1, 2, 3, 4], "foreground": [0.3, 0.4, 0.5, 0.6]}
    for settings in (ObjectSettings(grow=1), ObjectSettings(border=2)):
        assert tried(settings) == grown
