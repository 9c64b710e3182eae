"""What XLA is told when it compiles a step or a forward pass."""

from __future__ import annotations

from functools import cache

import jax

_CONVOLUTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}
_VECTORS = {"xla_cpu_prefer_vector_width": "512"}


@cache
def compiler_options(long_vectors: bool = False) -> dict[str, str]:
    """For `jax.jit(…, compiler_options=…)`, on the outermost function.

    On a CPU, without the library YNNPACK: newer versions of XLA give it the convolutions that have no padding, and it
    takes much longer than XLA's own. `long_vectors`: and with vectors as long as the CPU has them, up to 512 bits; XLA
    stops at 256. A training step of images is some 2 % faster so, one of volumes 5 % slower (two cores of x86-64 with
    AVX-512). Nothing elsewhere, and of these what this version of XLA knows.
    """
    if jax.default_backend() != "cpu":
        return {}
    wanted = _CONVOLUTIONS | (_VECTORS if long_vectors else {})
    return {name: value for name, value in wanted.items() if _known(name, value)}


def _known(name: str, value: str) -> bool:
    try:
        jax.jit(lambda x: x, compiler_options={name: value}).lower(0.0).compile()
    except RuntimeError:
        return False
    return True
