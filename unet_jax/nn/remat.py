"""Marks the maps that rematerialisation stores."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from jax import Array
from jax.ad_checkpoint import checkpoint_name

P = ParamSpec("P")


def remat_boundary(call: Callable[P, Array]) -> Callable[P, Array]:
    """Decorates the `__call__` of a block: rematerialisation (`unet_jax.training.objective`) stores its output and
    recomputes everything inside. Nothing else changes."""

    @wraps(call)
    def block(*args: P.args, **kwargs: P.kwargs) -> Array:
        return checkpoint_name(call(*args, **kwargs), "block")

    return block
