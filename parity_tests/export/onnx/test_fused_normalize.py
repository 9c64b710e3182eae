"""Every normalisation as ONNX compared with NumPy's, for whole images; normalisations that need the whole image are
refused for tiles."""

import numpy as np
import pytest
from onnxruntime import InferenceSession

from unet_data import prepare
from unet_export.onnx.emitter import IR_VERSION, OPSET, emit_onnx
from unet_export.onnx.fused import PREPARED, fuse, preprocess_model
from unet_spec import DataSpec, InputError, initial_tensors, preset

NETWORK = preset("same", widths=(2, 4), in_channels=2)
SPECS = {
    "none": DataSpec(normalization="none"),
    "dataset": DataSpec((0.4, 0.6), (0.2, 0.1)),
    "ct": DataSpec((0.4, 0.6), (0.2, 0.1), normalization="ct", low=(0.3, 0.5), high=(0.5, 0.7)),
    "image": DataSpec(normalization="image"),
    "percentile": DataSpec(normalization="percentile"),
}


def images():
    rng = np.random.default_rng(0)
    made = rng.integers(0, 256, (2, 24, 20, 2), dtype=np.uint8)
    made[1] //= 3
    made[1, ..., 1] = 7  # a constant channel
    made[0, :5] = 99
    return made


@pytest.mark.parametrize("nodata", [None, 99.0])
@pytest.mark.parametrize("name", SPECS)
def test_the_model_normalises_as_numpy_does(name, nodata):
    from dataclasses import replace

    data = replace(SPECS[name], nodata=nodata)
    session = InferenceSession(preprocess_model(NETWORK, data, OPSET, IR_VERSION).SerializeToString())
    [found] = session.run([PREPARED], {"image": images()})
    expected = prepare(images(), NETWORK, data).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found[..., :24, :20], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["image", "percentile"])
def test_a_model_of_tiles_cannot_normalise_by_the_image(name):
    model = emit_onnx(NETWORK, initial_tensors(NETWORK.graph, 0))
    with pytest.raises(InputError, match="the model only gets tiles"):
        fuse(model, NETWORK, SPECS[name], ["normalize"])
    assert len(fuse(model, NETWORK, SPECS["ct"], ["normalize"]).graph.node) > len(model.graph.node)
