"""The sizes that an engine is built for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from unet_spec import Geometry, InputError, NetworkConfig
from unet_spec.tiling import tile_near

ProfileName = Literal["general", "latency", "throughput"]
TILE = {2: 572, 3: 132}  # pixels per axis, rounded down to the grid; the paper's own, and what memory allows in 3-D
_BATCHES = {"general": (1, 1, 4), "latency": (1, 1, 1), "throughput": (1, 8, 16)}


@dataclass(frozen=True)
class Profile:
    """Smallest, most usual (what kernels are chosen for) and largest input, each (batch, *spatial) in pixels.

    A builder takes a size off the network's grid, and a batch of 0, without a word or with a misleading one. So a
    profile is checked before any builder sees it.
    """

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]

    @classmethod
    def fixed(cls, *shape: int) -> Profile:
        """For one size only."""
        return cls(shape, shape, shape)

    @classmethod
    def named(cls, name: str, geometry: Geometry) -> Profile:
        """From the smallest image to the paper's tile. latency: one at a time. throughput: 1 to 16, best at 8.
        general: 1 to 4, best at one. Raises InputError for another name."""
        if name not in get_args(ProfileName):
            raise InputError(f"unknown profile {name!r}; there are {', '.join(get_args(ProfileName))}")
        dims = geometry.graph.spatial_dims
        tile, least = tile_near(geometry, TILE[dims]), tuple(geometry.grid(axis).minimum for axis in range(dims))
        low, usual, high = _BATCHES[name]
        return cls((low, *least), (usual, *tile), (high, *tile))

    def check(self, config: NetworkConfig) -> None:
        """Raises InputError unless all three fit the network and min ≤ opt ≤ max."""
        axes = ("batch", "depth", "height", "width") if config.spatial_dims == 3 else ("batch", "height", "width")
        shapes = {"min": self.min, "opt": self.opt, "max": self.max}
        for name, shape in shapes.items():
            if len(shape) != len(axes) or not all(isinstance(n, int) for n in shape):
                raise InputError(f"profile {name} is {shape}; expected ({', '.join(axes)})")
            if shape[0] < 1:
                raise InputError(f"profile {name} has batch {shape[0]}; it must be at least 1")
            try:
                config.geometry.check(tuple(shape[1:]))
            except InputError as e:
                raise InputError(f"profile {name}: {e}") from None
        for axis, low, usual, high in zip(axes, self.min, self.opt, self.max, strict=True):
            if not low <= usual <= high:
                raise InputError(f"profile {axis} is {low}, {usual}, {high}; it must be min ≤ opt ≤ max")

    def __contains__(self, shape: tuple[int, ...]) -> bool:
        """Whether an input (batch, *spatial) lies between min and max."""
        return len(shape) == len(self.min) and all(
            low <= n <= high for low, n, high in zip(self.min, shape, self.max, strict=True)
        )
