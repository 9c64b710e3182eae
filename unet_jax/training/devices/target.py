"""Target devices of a training step: those of this machine, or TPUs that are not attached to it."""

from __future__ import annotations

import math
import os
import re
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp

from unet_data.memory import available
from unet_spec import InputError
from unet_spec.errors import suggestion
from unet_spec.files import first_line


@dataclass(frozen=True)
class Device:
    """Capacity and peak performance of one device.

    Attributes:
        memory: memory in bytes.
        flops: floating-point operations per second in matrix products, by precision ("float32", "bfloat16").
        bandwidth: bytes per second between the device and its memory.
        links: bytes per second between the device and the others, all links together; None for a single device.
        counts_all_bytes: whether all bytes that XLA counts are memory traffic. On a CPU many of them stay in caches.
    """

    memory: int
    flops: dict[str, float]
    bandwidth: float
    links: float | None = None
    counts_all_bytes: bool = True


@dataclass(frozen=True)
class Target:
    """Devices of one kind that share a training step.

    Attributes:
        name: name on the command line, such as "tpu-v5e:2x4" or "here".
        kind: readable name, such as "8 x TPU v5e".
        platform: JAX's name: "cpu", "gpu" or "tpu".
        devices: JAX's devices; for a TPU that is not attached, their descriptions.
        device: capacity and peak performance of each device.
    """

    name: str
    kind: str
    platform: str
    devices: tuple[Any, ...]
    device: Device


def _tpu(memory: float, tera: float, giga: float, links: float) -> Device:
    # By default, JAX computes float32 products on a TPU in one bfloat16 pass.
    return Device(int(memory * 2**30), dict.fromkeys(("float32", "bfloat16"), tera * 1e12), giga * 1e9, links * 1e9 / 8)


# Peaks of a chip from Google Cloud's pages "TPU v4", "TPU v5e", "TPU v5p" and "TPU v6e": GiB of memory, TFLOP/s in
# bfloat16, GB/s of memory, Gbit/s between chips.
CHIPS = {
    "v4": _tpu(32, 275, 1200, 2400),
    "v5e": _tpu(16, 197, 819, 1600),
    "v5p": _tpu(95, 459, 2765, 4800),
    "v6e": _tpu(32, 918, 1600, 3200),
}
"""TPU generations, by the prefix of a topology's name."""


_COMPILE_ONLY = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
"""Environment variables that keep libtpu from searching for a TPU on the network. Variables that are already set
stay."""


def find_target(name: str) -> Target:
    """Returns the target with this name.

    Args:
        name: "here" for all devices of this machine, or a TPU topology such as "tpu-v5e:2x4": generation and chips
            along each axis. A topology needs no TPU, but the package libtpu, which contains the compiler.

    Raises:
        InputError: no such device, or libtpu is missing.
    """
    if name == "here":
        return _here()
    if (match := re.fullmatch(r"tpu-(\w+):(\d+(?:x\d+){1,2})", name)) is None:
        raise InputError(f"unknown device {name!r}; give here, or a TPU such as tpu-v5e:2x4")
    generation, shape = match[1], match[2]
    if generation not in CHIPS:
        raise InputError(f"unknown TPU {generation!r}{suggestion(generation, CHIPS)}; known: {', '.join(CHIPS)}")
    return _tpu_topology(name, generation, tuple(map(int, shape.split("x"))))


def _tpu_topology(name: str, generation: str, chips: tuple[int, ...]) -> Target:
    from jax.experimental import topologies

    if find_spec("libtpu") is None and not os.environ.get("TPU_LIBRARY_PATH"):
        raise InputError(f"{name} needs the compiler for TPUs: pip install 'unet-twins[tpu]'")
    for variable, value in _COMPILE_ONLY.items():
        os.environ.setdefault(variable, value)
    count = math.prod(chips)
    whole = [*chips, *(1,) * (3 - len(chips))]
    options: dict[str, Any] = {} if count > 4 else {"chips_per_host_bounds": whole}
    topology = f"{generation}:{'x'.join(map(str, whole if generation in ('v4', 'v5p') else chips))}"
    try:
        devices = topologies.get_topology_desc(platform="tpu", topology_name=topology, **options).devices
    except Exception as e:  # XLA's errors have no common class
        raise InputError(f"{name}: libtpu does not know this topology ({first_line(e)})") from None
    chip, share = CHIPS[generation], count / len(devices)  # a TPU v4 has two cores, and each is one device
    device = Device(
        int(chip.memory * share),
        {precision: flops * share for precision, flops in chip.flops.items()},
        chip.bandwidth * share,
        chip.links * share if chip.links and len(devices) > 1 else None,
    )
    return Target(name, f"{len(devices)} x TPU {generation}", "tpu", tuple(devices), device)


def _here() -> Target:
    devices = jax.devices()
    platform = devices[0].platform
    stats = devices[0].memory_stats() if platform != "cpu" else None
    memory = stats["bytes_limit"] if stats else available()
    flops = {p: _measured_flops(p) for p in ("float32", "bfloat16")}
    device = Device(memory, flops, _measured_bandwidth(), counts_all_bytes=platform != "cpu")
    return Target("here", f"{len(devices)} x {devices[0].device_kind}", platform, tuple(devices), device)


def _best_seconds(work: Any, *arguments: Any, repeats: int = 5) -> float:
    compiled = jax.jit(work)
    jax.block_until_ready(compiled(*arguments))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _measured_flops(precision: str) -> float:
    size = 1536 if jax.default_backend() == "cpu" else 8192
    a = jnp.ones((size, size), precision)
    return 2 * size**3 / _best_seconds(lambda x: x @ x, a)


def _measured_bandwidth() -> float:
    x = jnp.ones(2**26, jnp.float32)  # 256 MiB: more than any cache
    return 2 * x.nbytes / _best_seconds(lambda y: y + 1, x)
