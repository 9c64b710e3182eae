"""User-defined loss, augmentation and callbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jax import Array

from ...network import Loss, Network

Augment = Callable[[Array, Array, Array, Array | None], tuple[Array, Array, Array | None]]
"""(key, images, labels, weights) to (images, labels, weights) of the same shapes: images (N, *tile, C) float32,
normalised; labels (N, *tile) integers; weights (N, *tile) float32, or None. It is part of the jitted step, so it must
use jax.numpy.
"""

Callback = Callable[[dict[str, Any], Network], bool | None]
"""Receives the record of a validation and the validated network. If it returns True, the run ends as by SIGTERM."""


@dataclass(frozen=True)
class Hooks:
    """User-defined functions, arguments of `unet_jax.train`, which describes them.

    Example:
        >>> import optax
        >>> from unet_jax import Hooks
        >>> def loss(logits, labels, weights):
        ...     return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        >>> Hooks(loss=loss).names
        {'loss': 'loss'}
    """

    loss: Loss | None = None
    augment: Augment | None = None
    callbacks: Sequence[Callback] = ()

    @property
    def names(self) -> dict[str, str]:
        """Python names of the functions that affect the result of a run, for run.json."""
        own = {"loss": self.loss, "augment": self.augment}
        return {part: _name(function) for part, function in own.items() if function is not None}


def _name(function: Callable[..., Any]) -> str:
    named = getattr(function, "func", function)  # of functools.partial
    return getattr(named, "__qualname__", type(named).__qualname__)


NO_HOOKS = Hooks()
"""No user-defined functions."""
