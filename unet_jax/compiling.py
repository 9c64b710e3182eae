"""What XLA is told when it compiles a step or a forward pass."""

from __future__ import annotations

from functools import cache

import jax


@cache
def compiler_options() -> dict[str, str]:
    """For `jax.jit(…, compiler_options=…)`, on the outermost function.

    On a CPU, without the library YNNPACK: newer versions of XLA give it the convolutions that have no padding, and it
    takes much longer than XLA's own. Nothing elsewhere, or where this version of XLA does not know the option.
    """
    if jax.default_backend() != "cpu":
        return {}
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    try:
        jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
    except RuntimeError:
        return {}
    return options
