"""Checks, before training starts on a CPU, that one step fits into memory.

A GPU reports when it is out of memory. On a CPU the operating system grants more memory than it has, and kills the
process when the memory is used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax

from unet_data.memory import available
from unet_spec import InputError


class StepTooLarge(InputError):
    """A training step needs more memory than is available."""


def compile_within_memory(
    step: Any, state: Any, values: Any, batch: Sequence[jax.ShapeDtypeStruct]
) -> Callable[..., Any]:
    """Compiles the jitted `step` for this state, run and batch on a CPU under Linux; elsewhere returns `step`.

    Raises InputError if it needs more memory than is available. The scratch memory of XLA's convolutions is not known
    in advance and not included.
    """
    if jax.default_backend() != "cpu" or sys.platform != "linux":
        return step
    compiled = step.lower(state, values, *batch).compile()
    if (analysis := compiled.memory_analysis()) is None:
        return compiled
    needed = analysis.temp_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    if needed > (free := available()):
        count, *window = batch[0].shape[:-1]
        raise StepTooLarge(
            f"a step of {count} tile(s) of {'x'.join(map(str, window))} pixels, margins for deformation "
            f"included, needs {needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are "
            "available; use a smaller tile, batch or network, or accumulate"
        )
    return compiled


@contextmanager
def out_of_memory_as_input_error(note: str) -> Iterator[None]:
    """Turns XLA's out-of-memory error into an InputError: "the device ran out of memory", followed by `note`."""
    try:
        yield
    except jax.errors.JaxRuntimeError as e:
        if "RESOURCE_EXHAUSTED" not in str(e):
            raise
        raise StepTooLarge(f"the device ran out of memory {note}") from None
