"""The network as a function of NumPy arrays, jitted."""

from __future__ import annotations

import jax
import numpy as np
from flax import nnx

from unet_jax.compiling import compiler_options
from unet_jax.network import Network
from unet_spec.latent import check_noise


class JaxRuntime:
    """Runs a model in evaluation mode: images (N, *spatial, C) to logits (N, *spatial, K). Compiles once a shape."""

    name = "jax"

    def __init__(self, model: Network):
        self.config = model.config
        model.eval()
        self.graphdef, self.state = nnx.split(model)
        self._apply = jax.jit(
            lambda state, x, given: nnx.merge(self.graphdef, state)(x, **given), compiler_options=compiler_options()
        )

    def run(self, images: np.ndarray, noise: np.ndarray | None = None) -> np.ndarray:
        """noise: of a latent variable, (N, features), or (S, features) for S hypotheses of one image; None: zeros.

        Raises InputError on a wrong shape or a size off the grid, and for noise that the network does not take.
        """
        if noise is not None:
            check_noise(self.config.graph, len(images), noise)
        return np.asarray(self._apply(self.state, images, {} if noise is None else {"noise": noise}))
