"""The memory of a forward pass, predicted from the graph."""

from types import SimpleNamespace

import numpy as np
import pytest

from unet_spec.families.unet import PRESETS
from unet_spec.ops import Param
from unet_spec.tiling.peak_memory import MIB, MODELS, ActivationMemory, MemoryModel


def test_activation_memory_is_the_sum_of_maps_alive():
    """Followed by hand through a two-level valid network with an input of 20: 20 18 16 | 8 6 4 | 8 6 4."""
    config = PRESETS["paper"].replace(widths=(2, 4), dropout=0.0)
    extents = [{k: np.float64(v) for k, v in config.graph.sizes(0, 20).items()}] * 2
    alive = {
        "encoder.0.conv1": 20**2 * 1 + 18**2 * 2,
        "encoder.0.conv2": 18**2 * 2 + 16**2 * 2,
        "encoder.1.conv1": 16**2 * 2 + 8**2 * 2 + 6**2 * 4,
        "decoder.0.up": 16**2 * 2 + 4**2 * 4 + 8**2 * 2,
        "decoder.0.crop": 16**2 * 2 + 8**2 * 2 + 8**2 * 2,
        "decoder.0.concat": 8**2 * 2 + 8**2 * 2 + 8**2 * 4,
    }
    assert ActivationMemory(config.graph, MemoryModel()).peak(extents) == 4 * max(alive.values())


@pytest.mark.parametrize(
    ("runtime", "fixed", "factor", "block", "crop_copies", "left"),
    [
        # The formula is fixed + share of the weights; measured on a CPU (benchmarks/results).
        ("onnx", 0, 2.3, 8, True, 40 * MIB),
        ("mnn", 5 * MIB + 1200, 1.1, 1, True, 0),
        ("mnn-fast", 5 * MIB + 16_000, 1.18, 1, True, 0),
        ("torch", 71 * MIB + 3200, 2.04, 8, True, 0),
        ("jax", 100 * MIB, 1.06, 1, False, 0),
    ],
)
def test_the_memory_model_of_each_runtime(runtime, fixed, factor, block, crop_copies, left):
    """For a network of 1,000 weights of four bytes."""
    model = MODELS[runtime]
    graph = SimpleNamespace(params={"w": Param((10, 20)), "v": Param((800,))}, inference=())
    assert ActivationMemory(graph, model).fixed == fixed
    assert (model.factor, model.block, model.crop_copies, model.left) == (factor, block, crop_copies, left)
    assert model.fused


def test_there_is_a_model_for_every_runtime_and_a_plain_one():
    assert set(MODELS) == {"onnx", "mnn", "mnn-fast", "torch", "jax"}
    assert MemoryModel() == MemoryModel(True, True, 1, 1.0, 0.0, 0, 0)
