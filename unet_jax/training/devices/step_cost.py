"""The compiler's estimate of a training step before it runs: memory, operations, traffic."""

from __future__ import annotations

import math
import re
import time
from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from unet_spec import NetworkConfig

from ...registry import create
from ..run.values import RunValues
from ..settings import TrainSettings
from ..step import initial_state, make_step
from .mesh import make_mesh, one_device_mesh, state_shardings
from .target import Target

_BYTES = {"f64": 8, "f32": 4, "bf16": 2, "f16": 2, "s64": 8, "u64": 8, "s32": 4, "u32": 4, "s16": 2, "u16": 2,
          "s8": 1, "u8": 1, "pred": 1}  # fmt: skip
_COLLECTIVE = re.compile(r" = (.+?) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(-start)?\(")
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")
_TOO_LARGE = re.compile(r"(?:Used |required for HLO temporaries \()([\d.]+)([KMG])")  # the two forms of XLA's message


@dataclass(frozen=True)
class StepCost:
    """Cost of one training step on one of the devices that share it. Bytes and operations are those of one device.

    Attributes:
        target, kind, devices: target that the step was compiled for.
        tile: size of the input tile (pixels per axis).
        batch: tiles per step on all devices together.
        precision, remat: as in the settings.
        fits: whether the step fits into the device's memory.
        memory: bytes needed on the device: arguments and results, temporaries, and the program.
        capacity: memory of the device in bytes.
        temporaries, arguments, code: parts of `memory`; None if the step does not fit.
        flops: floating-point operations.
        bytes_accessed: bytes read and written by all operations.
        collectives: kind to (number, bytes of their results).
        compute_seconds: minimum time of the operations at the device's peak.
        memory_seconds: minimum time of the memory traffic. On a CPU, only arguments and results are counted, since much
            of the rest stays in caches.
        link_seconds: minimum time of the collectives; 0 on one device.
        estimate_seconds: XLA's own estimate of a step, if any.
        compile_seconds: duration of the compilation.
    """

    target: str
    kind: str
    devices: int
    tile: tuple[int, ...]
    batch: int
    precision: str
    remat: bool
    fits: bool
    memory: int
    capacity: int
    compile_seconds: float
    temporaries: int | None = None
    arguments: int | None = None
    code: int | None = None
    flops: float = 0.0
    bytes_accessed: float = 0.0
    collectives: dict[str, tuple[int, int]] | None = None
    compute_seconds: float = 0.0
    memory_seconds: float = 0.0
    link_seconds: float = 0.0
    estimate_seconds: float | None = None

    @property
    def bound_seconds(self) -> float:
        """The minimum time of a step: the maximum of operations, traffic and collectives (roofline model, Williams et
        al. 2009)."""
        return max(self.compute_seconds, self.memory_seconds, self.link_seconds)

    @property
    def binds(self) -> str:
        """The bottleneck that sets the minimum time: "operations", "memory traffic" or "links"."""
        parts = {"operations": self.compute_seconds, "memory traffic": self.memory_seconds, "links": self.link_seconds}
        return max(parts, key=lambda name: parts[name])

    @property
    def intensity(self) -> float:
        """Operations per byte of traffic."""
        return self.flops / self.bytes_accessed if self.bytes_accessed else 0.0

    def to_dict(self) -> dict[str, Any]:
        """All attributes and properties, for JSON."""
        return asdict(self) | {name: getattr(self, name) for name in ("bound_seconds", "binds", "intensity")}


def lower_step(config: NetworkConfig, settings: TrainSettings, target: Target, image_dtype: str = "uint8") -> Any:
    """Lowers the training step for these devices without allocating anything.

    Args:
        config: the network.
        settings: as for `train`.
        target: see `find_target`.
        image_dtype: dtype of the images as read.

    Returns:
        A `jax.stages.Lowered`.

    Raises:
        InputError: the devices cannot share the batch or the tile evenly.
    """
    tile = settings.data.tile_shape(config)
    mesh = make_mesh(settings, tile, target.devices)
    if mesh is None and target.platform != jax.default_backend():
        mesh = one_device_mesh(target.devices)
    graphdef: list[Any] = []

    def state_of() -> Any:
        structure, state = initial_state(create(config, settings.optimisation.seed), settings)
        graphdef.append(structure)
        return state

    state = jax.eval_shape(state_of)
    zeros = np.zeros(config.in_channels)
    values = RunValues.of(settings, zeros, zeros + 1)
    step: Any = make_step(graphdef[0], settings, tile, mesh, state)
    window, count = settings.augmentation.window(tile), settings.optimisation.batch
    shapes = [((count, *window, config.in_channels), image_dtype), ((count, *window), "int32")]
    shapes += [((count, *window), "float32")] if settings.loss.weighted else []
    if mesh is None:
        return step.lower(state, values, *(jax.ShapeDtypeStruct(*each) for each in shapes))
    layout = NamedSharding(mesh, PartitionSpec("data"))
    batch = [jax.ShapeDtypeStruct(*each, sharding=layout) for each in shapes]
    return step.lower(_with_shardings(mesh, state, settings.hardware.fsdp), values, *batch)


def _with_shardings(mesh: Mesh, state: Any, fsdp: bool) -> Any:
    layouts = state_shardings(mesh, state, fsdp)
    return jax.tree.map(lambda x, layout: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=layout), state, layouts)


def compile_step(config: NetworkConfig, settings: TrainSettings, target: Target) -> StepCost:
    """Compiles the training step for these devices and returns the compiler's estimates. Takes seconds to minutes.

    Args:
        config: the network.
        settings: as for `train`.
        target: see `find_target`.

    Returns:
        Memory, operations, traffic and the minimum time of a step; only the memory if the step does not fit.

    Raises:
        InputError: the devices cannot share the batch or the tile evenly.

    Example:
        >>> from unet_jax import TrainSettings, preset
        >>> from unet_jax.training.devices.target import Device, Target
        >>> cpu = Device(2**30, {"float32": 1e12}, 1e10, counts_all_bytes=False)
        >>> target = Target("here", "1 x cpu", "cpu", tuple(jax.devices("cpu")[:1]), cpu)
        >>> cost = compile_step(preset("paper", widths=(2, 4)), TrainSettings().replace(tile=28), target)
        >>> cost.fits, cost.tile, cost.binds
        (True, (28, 28), 'memory traffic')
    """
    hardware, device = settings.hardware, target.device
    common: dict[str, Any] = {
        "target": target.name,
        "kind": target.kind,
        "devices": len(target.devices),
        "tile": settings.data.tile_shape(config),
        "batch": settings.optimisation.batch,
        "precision": hardware.precision,
        "remat": hardware.remat,
        "capacity": device.memory,
    }
    lowered = lower_step(config, settings, target)
    began = time.perf_counter()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as e:
        if (match := _TOO_LARGE.search(str(e))) is None:
            raise
        needed = int(float(match[1]) * 2 ** {"K": 10, "M": 20, "G": 30}[match[2]])
        return StepCost(**common, fits=False, memory=needed, compile_seconds=time.perf_counter() - began)
    seconds = time.perf_counter() - began
    sizes, costs = compiled.memory_analysis(), compiled.cost_analysis()
    arguments = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    memory = arguments + sizes.temp_size_in_bytes + sizes.generated_code_size_in_bytes
    flops, accessed = float(costs.get("flops", 0.0)), float(costs.get("bytes accessed", 0.0))
    collectives = collectives_of(compiled.as_text())
    sent = sum(size for _, size in collectives.values())
    traffic = accessed if device.counts_all_bytes else arguments
    return StepCost(
        **common,
        fits=memory <= device.memory,
        memory=memory,
        compile_seconds=seconds,
        temporaries=sizes.temp_size_in_bytes,
        arguments=arguments,
        code=sizes.generated_code_size_in_bytes,
        flops=flops,
        bytes_accessed=accessed,
        collectives=collectives,
        compute_seconds=flops / device.flops[hardware.precision],
        memory_seconds=traffic / device.bandwidth,
        link_seconds=sent / device.links if device.links else 0.0,
        estimate_seconds=estimate if (estimate := float(costs.get("optimal_seconds", 0.0))) > 0 else None,
    )


def collectives_of(program: str) -> dict[str, tuple[int, int]]:
    """The collectives in a compiled program's text: kind to (number, bytes of their results on one device).

    Example:
        >>> collectives_of("  %a = f32[8,2]{1,0} all-reduce(%b), replica_groups={}")
        {'all-reduce': (1, 64)}
    """
    collectives: dict[str, tuple[int, int]] = {}
    for result, kind, started in _COLLECTIVE.findall(program):
        arrays = _ARRAY.findall(result)
        if started and kind != "all-reduce":  # (operand, result, ...)
            arrays = arrays[1:2]
        number, total = collectives.get(kind, (0, 0))
        collectives[kind] = (number + 1, total + sum(_size(*array) for array in arrays))
    return dict(sorted(collectives.items()))


def _size(dtype: str, shape: str) -> int:
    return _BYTES.get(dtype, 0) * math.prod(int(n) for n in shape.split(",") if n)
