"""The network as a function of NumPy arrays, jitted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float, Shaped

from unet_spec import Checkpoint
from unet_spec.ops import check_noise

from .compiling import compiler_options
from .network import Network
from .strips import StripRuntime
from .weights import tensors


class JaxRuntime:
    """Runs a network in evaluation mode on NumPy arrays. Compiles once for each shape.

    The model itself is put into evaluation mode: call `model.train()` before you go on training it.

    Attributes:
        config: the network.
        state: its weights and statistics; they may be replaced by those of another network with the same config.

    Example:
        >>> import numpy as np
        >>> from unet_jax import JaxRuntime, UNet, preset
        >>> runtime = JaxRuntime(UNet(preset("paper", widths=(2, 4))))
        >>> runtime.run(np.zeros((1, 28, 28, 1), np.float32)).shape
        (1, 12, 12, 2)
    """

    name = "jax"

    def __init__(self, model: Network):
        self.config = model.config
        model.eval()
        self.graphdef, self.state = nnx.split(model)
        self._apply = jax.jit(
            lambda state, x, given: nnx.merge(self.graphdef, state)(x, **given), compiler_options=compiler_options()
        )

    def run(
        self, images: Shaped[np.ndarray, "n *spatial c"], noise: Float[np.ndarray, "s features"] | None = None
    ) -> Float[np.ndarray, "m *out k"]:
        """The logits of a batch.

        Args:
            images: (N, *spatial, C), normalised.
            noise: values of a latent variable, (N, features), or (S, features) for S samples of one image; None: zeros.

        Returns:
            (N, *spatial, K), or (S, *spatial, K), in the dtype of the weights.

        Raises:
            InputError: a wrong shape, a size off the network's grid, or noise for a network without a latent variable.
        """
        if noise is not None:
            check_noise(self.config.graph, len(images), noise)
        return np.asarray(self._apply(self.state, images, {} if noise is None else {"noise": noise}))

    def __reduce__(self) -> tuple[Callable[..., JaxRuntime], tuple[type[JaxRuntime], type[Network], Checkpoint]]:
        model = nnx.merge(self.graphdef, self.state)
        return _reopened, (type(self), type(model), Checkpoint(model.config, tensors(model), model.data))

    @cached_property
    def _strips(self) -> StripRuntime:
        return StripRuntime(nnx.merge(self.graphdef, self.state))

    def stream(
        self, read: Callable[[int, int], np.ndarray], height: int, rows: int
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Computes the logits row by row: see `StripRuntime.stream`. Raises InputError if that is impossible."""
        return self._strips.stream(read, height, rows)


def _reopened(runtime: type[JaxRuntime], network: type[Network], checkpoint: Checkpoint) -> JaxRuntime:
    """Rebuilds a pickled or copied runtime: the same weights, compiled again."""
    return runtime(network.from_checkpoint(checkpoint))
