"""The network as a function of NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float

from unet_spec.ops import check_noise

from .network import Network
from .strips import StripRuntime


class TorchRuntime:
    """Runs a network in evaluation mode on NumPy arrays, which have their channels last, on the network's device.

    The model itself is put into evaluation mode: call `model.train()` before you go on training it.

    Attributes:
        config: the network.
        model: the module.
        device, dtype: of its parameters.

    Example:
        >>> import numpy as np
        >>> from unet_torch import TorchRuntime, UNet, preset
        >>> runtime = TorchRuntime(UNet(preset("paper", widths=(2, 4))))
        >>> runtime.run(np.zeros((1, 28, 28, 1), np.float32)).shape
        (1, 12, 12, 2)
    """

    name = "torch"

    def __init__(self, model: Network):
        self.config = model.config
        self.model = model.eval()
        parameter = next(model.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype

    def run(
        self, images: Float[np.ndarray, "n *spatial c"], noise: Float[np.ndarray, "s features"] | None = None
    ) -> Float[np.ndarray, "m *out k"]:
        """The logits of a batch.

        Args:
            images: (N, *spatial, C), normalised; computed in the dtype of the weights.
            noise: values of a latent variable, (N, features), or (S, features) for S samples of one image; None: zeros.

        Returns:
            (N, *spatial, K), or (S, *spatial, K), in the dtype of the weights (bfloat16: as float32).

        Raises:
            InputError: a wrong shape, a size off the network's grid, or noise for a network without a latent variable.
        """
        given = {}
        if noise is not None:
            check_noise(self.config.graph, len(images), noise)
            given["noise"] = torch.from_numpy(np.ascontiguousarray(noise)).to(self.device, self.dtype)
        x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1))).to(self.device, self.dtype)
        with torch.inference_mode():
            logits = self.model(x, **given).cpu()
        return np.moveaxis((logits.float() if logits.dtype == torch.bfloat16 else logits).numpy(), 1, -1)

    def __reduce__(self) -> tuple[type, tuple[Network]]:
        return type(self), (self.model,)

    @cached_property
    def _strips(self) -> StripRuntime:
        return StripRuntime(self.model)

    def stream(
        self, read: Callable[[int, int], np.ndarray], height: int, rows: int
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Computes the logits row by row: see `StripRuntime.stream`. Raises InputError if that is impossible."""
        return self._strips.stream(read, height, rows)
