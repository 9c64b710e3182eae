"""The network at the start of a run: new, or with the weights of a checkpoint; parts may be frozen."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import numpy as np
from flax import nnx

from unet_spec import Checkpoint, InputError, NetworkConfig, find_network, take_weights
from unet_spec.weights.adapt import Adapted

from ...network import Network
from ...nn.convolution import Fixed
from ...registry import create
from ...weights import load_tensors
from ..settings import TrainSettings


class NewLayersWarning(UserWarning):
    """Layers are initialised at random because the given weights do not fit them."""


def initial_weights(config: NetworkConfig, settings: TrainSettings, class_names: Sequence[str]) -> Adapted | None:
    """The `weights` of the settings adapted to this network, with a new head if the class names differ; None without
    such weights. Raises InputError."""
    chosen = settings.optimisation
    if chosen.weights is None:
        return None
    return take_weights(Checkpoint.load(find_network(chosen.weights)), config, chosen.seed, class_names)


def begin(
    config: NetworkConfig, settings: TrainSettings, resumed: bool = False, class_names: Sequence[str] = ()
) -> Network:
    """The network before the first step, in training mode, with `weights` and `freeze` of the settings applied. A
    warning (`NewLayersWarning`) names the layers that are initialised at random. The weights are not loaded if the run
    is resumed. Raises InputError."""
    chosen = settings.optimisation
    model = create(config, chosen.seed)
    if not resumed and (adapted := initial_weights(config, settings, class_names)) is not None:
        if adapted.note:
            warnings.warn(f"{chosen.weights}: {adapted.note}", NewLayersWarning, stacklevel=3)
        load_tensors(model, {name: t.astype(np.float32) for name, t in adapted.checkpoint.tensors.items()})
    freeze(model, chosen.freeze)
    return model


def freeze(model: Network, parts: Iterable[str]) -> None:
    """Freezes parts of a network: no optimizer changes them, and their batch norms keep their statistics in training.

    Args:
        model: any network. Call this after `model.train()`, which lets the norms of all parts adapt. Weights stay
            frozen until the model is loaded again.
        parts: attributes of the network, such as "encoder".

    Raises:
        InputError: The network does not have such a part.

    Example:
        >>> from unet_jax import UNet, freeze, preset
        >>> model = UNet(preset("same", widths=(4, 8)))
        >>> freeze(model, ["encoder"])
    """
    for part in parts:
        module = vars(model).get(part)
        if not isinstance(module, nnx.Module | nnx.List):
            parts_of_model = [name for name, value in vars(model).items() if isinstance(value, nnx.Module | nnx.List)]
            raise InputError(f"cannot freeze {part!r}; this network has the parts {', '.join(parts_of_model)}")
        for _, inner in nnx.iter_modules(module):
            inner.eval()
            for name, value in list(vars(inner).items()):
                if type(value) is nnx.Param:
                    setattr(inner, name, Fixed(value[...]))
