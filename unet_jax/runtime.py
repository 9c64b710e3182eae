"""The network as a function of NumPy arrays, jitted."""

from __future__ import annotations

import jax
import numpy as np
from flax import nnx

from unet_jax.network import Network


class JaxRuntime:
    """Runs a model in evaluation mode: images (N, *spatial, C) to logits (N, *spatial, K). Compiles once a shape."""

    name = "jax"

    def __init__(self, model: Network):
        self.config = model.config
        model.eval()
        self.graphdef, self.state = nnx.split(model)
        self._apply = jax.jit(lambda state, x: nnx.merge(self.graphdef, state)(x))

    def run(self, images: np.ndarray) -> np.ndarray:
        """Raises InputError on a wrong shape or a size off the grid."""
        return np.asarray(self._apply(self.state, images))
