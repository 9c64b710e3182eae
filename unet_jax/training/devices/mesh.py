"""Shards batch, images and weights over several devices.

A mesh has three axes: data (parts of the batch), rows and columns (parts of each image). XLA partitions the step along
them: gradients and batch statistics are summed over the mesh, and convolutions exchange the rows and columns at the
edges of the parts (halo exchange). Up to rounding, the result does not depend on the
number of devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from unet_spec import InputError

from ..settings import TrainSettings

AXES = ("data", "rows", "columns")


def make_mesh(settings: TrainSettings, tile: tuple[int, ...], devices: Sequence[Any] | None = None) -> Mesh | None:
    """The mesh over `devices` (None: all devices of all processes); None for a single device.

    Raises InputError if the batch or the tile cannot be divided evenly.
    """
    devices, space = devices or jax.devices(), settings.hardware.space
    if len(devices) == 1 and space == 1:
        return None
    local = len(devices) // jax.process_count()
    if local % space:
        raise InputError(f"space is {space}; it must divide the {local} device(s) of each process")
    rows = max((r for r in range(1, space + 1) if space % r == 0 and tile[-2] % r == 0), default=1)
    if tile[-1] % (space // rows):
        raise InputError(
            f"a tile of {'x'.join(map(str, tile))} cannot be cut into {space} equal parts; choose another tile or space"
        )
    data = len(devices) // space
    batch, accumulate = settings.optimisation.batch, settings.optimisation.accumulate
    part = batch // accumulate
    if part % data:
        raise InputError(
            f"batch is {batch} in {accumulate} part(s) of {part}; each part must be a multiple of the {data} devices "
            "that it is divided over (or raise space, or hide devices from JAX, such as with CUDA_VISIBLE_DEVICES=0)"
        )
    return _mesh(devices, (data, rows, space // rows))


def one_device_mesh(devices: Sequence[Any]) -> Mesh:
    """The mesh of a single device that is not JAX's default, to compile for it."""
    return _mesh(devices[:1], (1, 1, 1))


def _mesh(devices: Sequence[Any], shape: tuple[int, int, int]) -> Mesh:
    return Mesh(np.asarray(devices).reshape(shape), AXES, axis_types=(AxisType.Auto,) * 3)


def platform_of(mesh: Mesh | None) -> str:
    """The platform that a step on this mesh is compiled for: "cpu", "gpu" or "tpu"."""
    return jax.default_backend() if mesh is None else mesh.devices.flat[0].platform


def state_shardings(mesh: Mesh, state: Any, fsdp: bool) -> Any:
    """The sharding of each array of a TrainState: replicated or, with `fsdp`, sharded along its longest axis whose size
    the number of devices on the data axis divides."""
    data = mesh.shape["data"]

    def layout(x: Array) -> NamedSharding:
        axes = [axis for axis in range(x.ndim) if x.shape[axis] % data == 0] if fsdp and data > 1 else []
        if not axes:
            return NamedSharding(mesh, PartitionSpec())
        longest = max(axes, key=lambda axis: x.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*[None] * longest, "data"))

    return jax.tree.map(layout, state)


def shard_state(mesh: Mesh | None, state: Any, fsdp: bool) -> Any:
    """A TrainState sharded over the mesh by `state_shardings`. Every process must pass the same values."""
    if mesh is None:
        return state

    def put(x: Array, layout: NamedSharding) -> Array:
        values = np.asarray(x)
        return jax.make_array_from_callback(x.shape, layout, lambda index: values[index])

    return jax.tree.map(put, state, state_shardings(mesh, state, fsdp))


def process_rows(mesh: Mesh | None, batch: int) -> slice:
    """The examples of a batch that this process provides."""
    if mesh is None:
        return slice(None)
    each = batch // jax.process_count()
    return slice(jax.process_index() * each, (jax.process_index() + 1) * each)


def put_batch(mesh: Mesh | None, batch: tuple[np.ndarray, ...]) -> tuple[Array, ...]:
    """Sends this process's examples, arrays of shape (N, …), to its devices."""
    if mesh is None:
        return tuple(jax.device_put(x) for x in batch)
    layout = NamedSharding(mesh, PartitionSpec("data"))
    return tuple(jax.make_array_from_process_local_data(layout, x) for x in batch)


def split_image(mesh: Mesh | None, x: Array | None, dims: int) -> Any:
    """Inside the step: shards the rows and columns of (N, *spatial, ...), with `dims` spatial axes, over the devices
    that share an image."""
    if mesh is None or x is None:
        return x
    spec = PartitionSpec("data", *[None] * (dims - 2), "rows", "columns")
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))


def gather(mesh: Mesh | None, tree: Any) -> Any:
    """The same values as NumPy arrays in every process. All processes must call it."""
    if mesh is None:
        return jax.tree.map(np.asarray, tree)
    whole = jax.jit(lambda t: t, out_shardings=NamedSharding(mesh, PartitionSpec()))(tree)
    return jax.tree.map(lambda x: np.asarray(x.addressable_data(0)), whole)
