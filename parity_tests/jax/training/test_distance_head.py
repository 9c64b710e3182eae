"""A distance head learns from touching objects, and separates them where two classes cannot."""

import numpy as np
import pytest

from unet_data import Dataset, border_distances, instance_scores, objects_of
from unet_data.inference.predict import predict_output
from unet_data.metrics.instances import object_maps
from unet_data.objects.settings import ObjectSettings, settings_for
from unet_jax import JaxRuntime, TrainSettings, from_pretrained, preset, train
from unet_jax.training.augmentation.augment import NONE
from unet_spec import InputError


def domes(count, seed, size=64):
    """Pairs of bright domes that touch along more than their radius, too wide for separation at a neck."""
    rng, grid = np.random.default_rng(seed), np.indices((size, size))
    images, cells = [], []
    for _ in range(count):
        label, height = np.zeros((size, size), np.int32), np.zeros((size, size))
        for row in range(10, size, 20):
            for column in range(10, size, 32):
                for side in (0, 9):
                    middle = np.array([row, column + side]) + rng.uniform(-1, 1, 2)
                    dome = 1 - ((grid - middle[:, None, None]) ** 2).sum(0) / 7**2
                    label[dome > np.maximum(height, 0)] = label.max() + 1
                    height = np.maximum(height, dome)
        images.append(np.clip(60 + 150 * height + rng.normal(0, 6, height.shape), 0, 255).astype(np.uint8)[..., None])
        cells.append(label)
    labels = tuple((c > 0).astype(np.int32) for c in cells)
    names = tuple(f"domes-{k}" for k in range(count))
    return Dataset(tuple(images), labels, names, ("background", "cell"), "domes", instances=tuple(cells))


CONFIG = preset("same", widths=(8, 16), norm="none", conv_bias=True, distance_head=True)
SETTINGS = TrainSettings().replace(
    steps=200, tile=64, batch=2, learning_rate=5e-3, optimizer="adamw", augmentation=NONE, distance_weight=4.0
)


@pytest.mark.slow
def test_touching_objects_are_parted_by_the_predicted_distance(tmp_path):
    validation = domes(2, 1)
    train(CONFIG, SETTINGS, domes(4, 0), validation, tmp_path / "run")
    model = from_pretrained(tmp_path / "run" / "last")
    run, truths = JaxRuntime(model).run, list(validation.instances or ())
    found = predict_output(run, validation.images[0], CONFIG, model.data)[..., -1]
    assert np.corrcoef(found.ravel(), border_distances(truths[0]).ravel())[0, 1] > 0.9
    maps, scores = object_maps(run, CONFIG, model.data, validation), {}
    for settings in (settings_for(model.data, CONFIG), ObjectSettings(distance=2)):
        scores[settings.method] = instance_scores(truths, [objects_of(m, settings)[0] for m in maps])
    assert scores["predicted"]["merged"] < scores["distance"]["merged"] / 2
    assert scores["predicted"]["ap@0.50"] > 0.8


def test_labels_must_number_objects(tmp_path):
    data = domes(2, 0, 32)
    classes = Dataset(data.images, data.labels, data.names, data.class_names, "classes")
    with pytest.raises(InputError, match="classes: a distance head needs labels that number objects"):
        train(CONFIG, SETTINGS, classes, None, tmp_path / "run")
    assert not (tmp_path / "run").exists()
