"""The sizes that fit a network along one axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .errors import InputError


@dataclass(frozen=True)
class Grid:
    """The sizes that fit along one axis, in pixels: minimum, minimum + step, minimum + 2 step, ...

    Example:
        >>> from unet_spec import preset
        >>> grid = preset("paper").geometry.grid()
        >>> grid, 572 in grid, grid.below(600), grid.above(600), grid.nearest(512)
        (Grid(minimum=188, step=16), True, 588, 604, (508, 524))
    """

    minimum: int
    step: int

    def __contains__(self, size: int) -> bool:
        return size >= self.minimum and (size - self.minimum) % self.step == 0

    def below(self, size: int) -> int | None:
        """The largest size that fits and is not above `size`; None if there is none."""
        return None if size < self.minimum else size - (size - self.minimum) % self.step

    def above(self, size: int) -> int:
        """The smallest size that fits and is not below `size`."""
        return max(self.minimum, size + (self.minimum - size) % self.step)

    def nearest(self, size: int) -> tuple[int, ...]:
        """The nearest sizes that fit: one below and one above, or one size if both are equal or none is below."""
        below, above = self.below(size), self.above(size)
        return (above,) if below is None or below == above else (below, above)


def find_grid(fits: Callable[[int], bool], stride: int, where: str) -> Grid:
    """Finds, by trial, the smallest size that fits and the step between sizes that fit.

    The step is the total stride, or a divisor of it if pooling windows may overhang (FCN: every size fits).
    """
    size = next((n for n in range(1, 1000 * stride + 1001) if fits(n)), None)
    if size is None:
        raise InputError(f"no size fits this network along {where}")
    fitting = [k for k in range(1, stride + 1) if k == stride or fits(size + k)]
    step = fitting[0]
    if stride % step or fitting != list(range(step, stride + 1, step)):
        raise InputError(f"the sizes that fit along {where}, {size} + {fitting}, are not an arithmetic sequence")
    return Grid(size, step)


def check_size(size: tuple[int, ...], grids: tuple[Grid, ...]) -> None:
    """Raises InputError, naming the nearest sizes that fit, unless each size is on its grid."""
    if all(n in grid for n, grid in zip(size, grids, strict=True)):
        return
    options = [" or ".join(map(str, grid.nearest(n))) for n, grid in zip(size, grids, strict=True)]
    nearest = f": {options[0]}" if len(set(options)) == 1 else f" per axis: {', '.join(options)}"
    raise InputError(
        f"input {'x'.join(map(str, size))} does not fit this network; nearest valid{nearest}"
        f" (sizes are {grids[0].minimum} + {grids[0].step} k)"
    )
