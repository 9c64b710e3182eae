"""The sizes that an engine is built for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from unet_spec import Geometry, InputError, NetworkConfig
from unet_spec.tiling.tiles import balanced_tile

ProfileName = Literal["general", "latency", "throughput"]
TILE = {
    2: 572,
    3: 132,
}  # pixels per axis, rounded down to the grid; the paper's tile, and a size in 3-D that fits into memory
_BATCHES = {"general": (1, 1, 4), "latency": (1, 1, 1), "throughput": (1, 8, 16)}


@dataclass(frozen=True)
class Profile:
    """The sizes that an engine accepts.

    Builders accept sizes off the network's grid and a batch of 0 without a message, or with a misleading one, so
    profiles are checked before the build.

    Attributes:
        min: Smallest input (batch, *spatial), in pixels.
        opt: Input size for which kernels are optimised.
        max: Largest input.

    Example:
        >>> from unet_export import Profile
        >>> (1, 320, 256) in Profile((1, 32, 32), (1, 256, 256), (4, 572, 572))
        True
    """

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]

    @classmethod
    def fixed(cls, *shape: int) -> Profile:
        """A profile for a single size (batch, *spatial)."""
        return cls(shape, shape, shape)

    @classmethod
    def named(cls, name: str, geometry: Geometry) -> Profile:
        """From the smallest image to the paper's tile, for "latency" (batch 1), "throughput" (1 to 16, best at
        8) or "general" (1 to 4, best at 1). Raises InputError for another name."""
        if name not in get_args(ProfileName):
            raise InputError(f"unknown profile {name!r}; allowed: {', '.join(get_args(ProfileName))}")
        dims = geometry.graph.spatial_dims
        tile, smallest = balanced_tile(geometry, TILE[dims]), tuple(geometry.grid(axis).minimum for axis in range(dims))
        low, optimal, high = _BATCHES[name]
        return cls((low, *smallest), (optimal, *tile), (high, *tile))

    @classmethod
    def from_dict(cls, values: Mapping[str, Sequence[int]]) -> Profile:
        """From the JSON object of a manifest: the sizes under "min", "opt" and "max"."""
        return cls(*(tuple(values[end]) for end in ("min", "opt", "max")))

    @property
    def max_hypotheses(self) -> int:
        """Maximum number of rows of noise for a network with a latent variable: 16 for engines with batch 1, otherwise
        the largest batch, since the inputs of a profile must be consistent."""
        return 16 if self.max[0] == 1 else self.max[0]

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
        for axis, low, optimal, high in zip(axes, self.min, self.opt, self.max, strict=True):
            if not low <= optimal <= high:
                raise InputError(f"profile {axis} is {low}, {optimal}, {high}; it must be min ≤ opt ≤ max")

    def __contains__(self, shape: tuple[int, ...]) -> bool:
        """Whether an input (batch, *spatial) lies between min and max."""
        return len(shape) == len(self.min) and all(
            low <= n <= high for low, n, high in zip(self.min, shape, self.max, strict=True)
        )
