"""The bound of float32 where the noise floor of a network is higher."""

import numpy as np
import pytest

from unet_spec import Checkpoint, DataSpec, preset, random_tensors


def checkpoint_of(config, dtype=np.float32):
    return Checkpoint(config, random_tensors(config.graph, 0, dtype), DataSpec())


@pytest.mark.parametrize("cancelled", [False, True])
def test_the_bound_of_float32_is_the_noise_floor_where_that_is_higher(cancelled, monkeypatch):
    """If the head's bias cancels large features, float32 loses the same digits in NumPy and in every runtime; a wrong
    weight still exceeds the bound by far."""
    import dataclasses

    from unet_tools.checking import runtimes as checking

    monkeypatch.setattr(checking, "installed", lambda name: name == "onnx")
    checkpoint = checkpoint_of(preset("m-net", widths=(3, 4), in_channels=1, out_channels=1))
    if cancelled:
        tensors = dict(checkpoint.tensors)
        large = np.full_like(tensors["decoder.0.block.conv2.bias"], 1000)
        weight = tensors["heads.0.conv.weight"]
        tensors |= {"decoder.0.block.conv2.bias": large, "heads.0.conv.bias": -1000 * weight.sum((1, 2, 3))}
        checkpoint = dataclasses.replace(checkpoint, tensors=tensors)
    finding = next(f for f in checking.check_checkpoint(checkpoint, []) if (f.runtime, f.dtype) == ("onnx", "float32"))
    assert finding.ok
    assert finding.bound is not None
    assert (finding.bound > 1e-5) == cancelled

    right = checking.open_checkpoint

    def wrong(given, name):
        key = "encoder.0.conv1.weight"
        return right(dataclasses.replace(given, tensors={**given.tensors, key: given.tensors[key] * 1.01}), name)

    monkeypatch.setattr(checking, "open_checkpoint", wrong)
    finding = next(f for f in checking.check_checkpoint(checkpoint, []) if (f.runtime, f.dtype) == ("onnx", "float32"))
    assert not finding.ok
