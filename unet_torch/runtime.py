"""The network as a function of NumPy arrays."""

from __future__ import annotations

import numpy as np
import torch

from unet_spec.latent import check_noise
from unet_torch.network import Network


class TorchRuntime:
    """Runs a model in evaluation mode: images (N, *spatial, C) to logits (N, *spatial, K), on the model's device."""

    name = "torch"

    def __init__(self, model: Network):
        self.config = model.config
        self.model = model.eval()
        self.device = next(model.parameters()).device

    def run(self, images: np.ndarray, noise: np.ndarray | None = None) -> np.ndarray:
        """noise: of a latent variable, (N, features), or (S, features) for S hypotheses of one image; None: zeros.

        Raises InputError on a wrong shape or a size off the grid, and for noise that the network does not take.
        """
        given = {}
        if noise is not None:
            check_noise(self.config.graph, len(images), noise)
            given["noise"] = torch.from_numpy(np.ascontiguousarray(noise)).to(self.device)
        x = torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1))).to(self.device)
        with torch.inference_mode():
            return np.moveaxis(self.model(x, **given).cpu().numpy(), 1, -1)
