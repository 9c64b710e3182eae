"""Changes that look like bugs but change nothing. No check can catch them, and a test confirms that none does.

If one is caught, a new case exists for which it is a bug, and it moves to the mutants.
"""

from __future__ import annotations

from types import SimpleNamespace

import jax.numpy as jnp

import unet_jax.weights
from unet_export.onnx import ops as onnx_ops
from unet_jax.nn import spatial as jax_spatial
from unet_jax.nn.convolution import UpConv
from unet_spec import ops
from unet_torch.nn import spatial as torch_spatial

from .plant import Attributes, Edit
from .registry import MAPPING, NETWORK, ONNX, Mutant

EQUIVALENT: dict[str, Mutant] = {
    m.name: m
    for m in (
        Mutant(
            "torch-pool-ceil",
            "pooling rounds sizes up: every size on a U-Net's grid is even at every pooling, and others are refused",
            "crop-batch",
            NETWORK,
            Edit(
                torch_spatial.MaxPool.forward,
                "F.max_pool2d(x, self.window)",
                "F.max_pool2d(x, self.window, ceil_mode=True)",
            ),
        ),
        Mutant(
            "jax-pool-same",
            'pooling with padding "SAME", which pads even sizes by nothing',
            "same",
            NETWORK,
            Edit(
                jax_spatial.MaxPool.__call__,
                "max_pool(x, per_axis(self.window, x.ndim - 2))",
                'nnx.max_pool(x, *[per_axis(self.window, x.ndim - 2)] * 2, "SAME")',
            ),
        ),
        Mutant(
            "onnx-pool-ceil",
            "the same in the ONNX file",
            "same",
            ONNX,
            Edit(onnx_ops.emit.dispatch(ops.MaxPool), "strides=op.window", "strides=op.window, ceil_mode=1"),
        ),
        Mutant(
            "jax-up-convolution-of-xla",
            "XLA's transposed convolution for the matrix product",
            "crop-batch",
            NETWORK,
            Edit(
                UpConv.__call__,
                "return y if bias is None else y + broadcast_channels(bias, y, self.cpu_step)",
                "return nnx.ConvTranspose.__call__(self, inputs)",
            ),
        ),
        Mutant(
            "load-asarray",
            "jnp.asarray for jnp.array: the map hands over copies that nobody else holds",
            "crop-batch",
            MAPPING,
            Attributes(unet_jax.weights, "jnp.array → jnp.asarray", {"jnp": SimpleNamespace(array=jnp.asarray)}),
        ),
        Mutant(
            "onnx-not-contiguous",
            "weights written from views that are not contiguous: onnx itself takes their values in C order",
            "crop-batch",
            ONNX,
            Edit(onnx_ops.Writer.constant, "np.ascontiguousarray(values,", "np.asarray(values,"),
        ),
    )
}
