"""Memory that does not suffice, in one line: on a CPU, before a training step is taken.

A GPU refuses what it does not have. A CPU's system gives it out, and kills the process once it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax

from unet_data.memory import available
from unet_spec import InputError


def that_fits(step: Callable[..., Any], state: Any, batch: Sequence[jax.ShapeDtypeStruct]) -> Callable[..., Any]:
    """The jitted `step`, compiled for such a state and batch where this is a CPU under Linux.

    Raises InputError where it needs more memory than is available. What XLA's convolutions take for themselves comes
    on top and is not known before.
    """
    if jax.default_backend() != "cpu" or sys.platform != "linux":
        return step
    compiled = step.lower(state, *batch).compile()
    if (found := compiled.memory_analysis()) is None:
        return compiled
    needed = found.temp_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    if needed > (free := available()):
        count, *window = batch[0].shape[:-1]
        raise InputError(
            f"a step of {count} tile(s) of {'x'.join(map(str, window))} pixels, margins for deformation included, "
            f"takes {needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are available; a smaller tile, "
            "batch or network needs less, and so does accumulate"
        )
    return compiled


@contextmanager
def telling_of_memory(what: str) -> Iterator[None]:
    """Turns a device that runs out of memory into an InputError: "the device ran out of memory", and `what`."""
    try:
        yield
    except jax.errors.JaxRuntimeError as e:
        if "RESOURCE_EXHAUSTED" not in str(e):
            raise
        raise InputError(f"the device ran out of memory {what}") from None
