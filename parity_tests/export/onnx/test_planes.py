"""A 3-D network computed by planes is the same network."""

from __future__ import annotations

import numpy as np
import pytest

from unet_export import OnnxRuntime, emit_onnx, onnx_bytes
from unet_export.onnx.planes import PlanesRuntime, can_planes
from unet_spec import InputError, preset, random_tensors

STAGED = preset("nnunet", spatial_dims=3, in_channels=2, out_channels=3, widths=(4, 5, 6), sides=1)
NETWORKS = {
    "isotropic": (STAGED, (8, 8, 12)),
    "anisotropic": (
        STAGED.replace(kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)), strides=((1, 1, 1), (1, 2, 2), (2, 2, 2))),
        (6, 8, 12),
    ),
    "odd depths": (STAGED.replace(strides=((1, 1, 1), (1, 2, 2), (1, 2, 2))), (5, 8, 12)),
    "residual": (
        preset("nnunet-residual", spatial_dims=3, widths=(3, 4, 5), depths=(1, 2, 1), decoder_depths=(1, 1), sides=1),
        (8, 8, 12),
    ),
    "pooled, cropped": (preset("paper", spatial_dims=3, widths=(3, 4)), (20, 22, 24)),
    "pooled, batch norm": (preset("same", spatial_dims=3, widths=(3, 4, 5), in_channels=2), (8, 12, 16)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_planes_give_the_networks_logits(name):
    config, size = NETWORKS[name]
    model = emit_onnx(config, random_tensors(config.graph, 0))
    assert can_planes(model, config)
    image = np.random.default_rng(0).normal(size=(2, *size, config.in_channels)).astype(np.float32)
    wanted = OnnxRuntime(onnx_bytes(model), 1).run(image)
    runtime = PlanesRuntime(model, config, size, 1)
    found = runtime.run(image)
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
    with pytest.raises(InputError, match="laid out for"):
        runtime.run(image[:, :, :4])


def test_networks_that_are_not_known_are_left_alone():
    flat = preset("nnunet", widths=(4, 5), sides=0)
    interpolated = preset("same-bilinear", widths=(2, 3), spatial_dims=3)
    for config in (flat, interpolated):
        model = emit_onnx(config, random_tensors(config.graph, 0))
        assert not can_planes(model, config)
        with pytest.raises(InputError, match="cannot be computed by planes"):
            PlanesRuntime(model, config, (8,) * config.spatial_dims)
