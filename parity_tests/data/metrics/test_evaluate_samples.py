"""The energy distance of a network's samples."""

import numpy as np
import pytest

from unet_data import energy_distance, membranes, most_probable
from unet_data.inference.predict import sample_image
from unet_data.metrics.evaluate import measure_samples
from unet_export import OnnxRuntime, emit_onnx, onnx_bytes
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_spec.ops import draw_noise

PROBABILISTIC = preset("probabilistic-unet", widths=(4, 6), latent=3, convolutions=1)


def checkpoint_of(config, dtype=np.float32):
    return Checkpoint(config, random_tensors(config.graph, 0, dtype), DataSpec())


def test_energy_distance_of_a_network():
    """Means over the images of the public function, on samples that are drawn here."""
    dataset = membranes(3, 40, 0)
    run = OnnxRuntime(onnx_bytes(emit_onnx(PROBABILISTIC, checkpoint_of(PROBABILISTIC).tensors))).run
    found = measure_samples(run, PROBABILISTIC, DataSpec(), dataset, samples=4, seed=2)
    wanted = []
    for index, (image, truth) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
        noise = draw_noise(PROBABILISTIC.graph, 4, 2, index)
        drawn = [most_probable(sample_image(run, image, PROBABILISTIC, DataSpec(), eps[None])[0]) for eps in noise]
        wanted.append(energy_distance(np.stack(drawn), truth[None]))
    assert found["energy_distance"] == pytest.approx(np.mean(wanted), abs=1e-12)
    assert 0 < found["diversity"] < 1
