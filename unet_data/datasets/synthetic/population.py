"""Positions and shapes of cells that move, grow, push each other and divide, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Complex128, Float64, Int64

MODES = 7
"""Number of waves in the outline of a cell, from the second one; the first would only move the cell."""

NUCLEOLI = 3


@dataclass(frozen=True)
class Habit:
    """Parameters of the cells of a style.

    Attributes:
        packing: distance below which neighbours push each other, relative to the sum of their radii.
        adhesion: strength of the attraction between near neighbours, in 0..1.
        outline: standard deviation of the second wave of the outline's logarithm.
        decay: the standard deviation of wave k is proportional to k ** -decay.
        stretch: mean logarithm of length over width.
        rounding: relative reduction of the radius of a dividing cell as it rounds up.
    """

    packing: float
    adhesion: float
    outline: float
    decay: float
    stretch: float
    rounding: float


@dataclass
class Cells:
    """The n cells of one frame. Positions and lengths are in pixels, y before x.

    Attributes:
        centre, velocity: (n, 2).
        angle: direction of the long axis in radians.
        age: 0 at birth, 1 at division; rate: increase of the age per frame.
        stretch: logarithm of length over width.
        waves: waves of the logarithm of the outline, from the second one.
        nucleus: (n, 2), centre of the nucleus relative to the radius of the cell; nucleoli: (n, NUCLEOLI, 2), their
            centres relative to the radius of the nucleus.
        grain: (n, 2), position of the cell's texture in the common texture.
        number: number of its track; 0 before it is first visible.
        parent: number of the cell from which it was born in this frame, else 0.
    """

    centre: Float64[np.ndarray, "n 2"]
    velocity: Float64[np.ndarray, "n 2"]
    angle: Float64[np.ndarray, " n"]
    age: Float64[np.ndarray, " n"]
    rate: Float64[np.ndarray, " n"]
    stretch: Float64[np.ndarray, " n"]
    waves: Complex128[np.ndarray, "n modes"]
    nucleus: Float64[np.ndarray, "n 2"]
    nucleoli: Float64[np.ndarray, "n nucleoli 2"]
    grain: Float64[np.ndarray, "n 2"]
    number: Int64[np.ndarray, " n"]
    parent: Int64[np.ndarray, " n"]

    def take(self, chosen: np.ndarray) -> Cells:
        """The cells at some indices or in a mask."""
        return Cells(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    def joined(self, others: Cells) -> Cells:
        """These cells followed by the others."""
        parts = {f.name: (getattr(self, f.name), getattr(others, f.name)) for f in fields(self)}
        return Cells(**{name: np.concatenate(pair) for name, pair in parts.items()})


class Population:
    """Cells in a field and in a margin around it, from which cells enter the field.

    Args:
        rng: the random generator.
        shape: (H, W) of the field.
        count: approximate number of cells in the field.
        diameter: mean diameter of the cells, in pixels.
        cycle: mean number of frames between two divisions of a cell.
        speed: pixels per frame.
        habit: parameters of the cells.
        margin: width of the margin, in diameters.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        shape: tuple[int, int],
        count: int,
        diameter: float,
        cycle: float,
        speed: float,
        habit: Habit,
        margin: float = 1.0,
    ):
        self._rng, self._diameter, self._cycle, self._speed, self._habit = rng, diameter, cycle, speed, habit
        self._low = np.full(2, -margin * diameter)
        self._high = np.array(shape) + margin * diameter
        world = self._high - self._low
        total = max(1, round(count * float(world.prod()) / (shape[0] * shape[1])))
        self.cells = self._born(self._placed(total, world))
        self.cells.age = rng.uniform(0, 0.85, total)
        for _ in range(40):
            self._push(0.5)

    def _placed(self, total: int, world: np.ndarray) -> np.ndarray:
        """Centres: points of a low-discrepancy sequence (Roberts 2018, R2) with a small random displacement."""
        golden = 1.32471795724474602596
        steps = np.outer(np.arange(1, total + 1), [1 / golden, 1 / golden**2])
        even = (steps + self._rng.random(2)) % 1
        spacing = np.sqrt(world.prod() / total)
        return self._low + even * world + self._rng.normal(0, 0.15 * spacing, (total, 2))

    def _born(self, centre: np.ndarray) -> Cells:
        """New cells at these positions, each with random properties."""
        rng, n = self._rng, len(centre)
        inside = rng.uniform(0, 2 * np.pi, (n, NUCLEOLI)), 0.62 * np.sqrt(rng.random((n, NUCLEOLI)))
        return Cells(
            centre=centre.copy(),
            velocity=rng.normal(0, self._speed, (n, 2)),
            angle=rng.uniform(0, 2 * np.pi, n),
            age=np.zeros(n),
            rate=np.exp(rng.normal(0, 0.15, n)) / self._cycle,
            stretch=rng.normal(self._habit.stretch, 0.2, n),
            waves=self._waves(n),
            nucleus=rng.normal(0, 0.08, (n, 2)),
            nucleoli=np.stack([inside[1] * np.sin(inside[0]), inside[1] * np.cos(inside[0])], axis=-1),
            grain=rng.uniform(0, 1e4, (n, 2)),
            number=np.zeros(n, np.int64),
            parent=np.zeros(n, np.int64),
        )

    def _waves(self, n: int) -> np.ndarray:
        scale = self._habit.outline * (np.arange(2, MODES + 2) / 2) ** -self._habit.decay
        return scale * (self._rng.normal(size=(n, MODES)) + 1j * self._rng.normal(size=(n, MODES)))

    def step(self) -> None:
        """Advances to the next frame: cells age, change their shape, move, divide, push each other."""
        cells, rng = self.cells, self._rng
        cells.parent[:] = 0
        cells.age += cells.rate
        correlation = 0.94  # with the outline of the last frame; the variance stays constant
        cells.waves = correlation * cells.waves + np.sqrt(1 - correlation**2) * self._waves(len(cells.age))
        cells.stretch += 0.06 * (self._habit.stretch - cells.stretch) + rng.normal(0, 0.04, len(cells.age))
        cells.angle += rng.normal(0, 0.05, len(cells.age))
        cells.nucleus = 0.95 * cells.nucleus + rng.normal(0, 0.02, cells.nucleus.shape)
        cells.velocity = 0.8 * cells.velocity + 0.6 * rng.normal(0, self._speed, cells.velocity.shape)
        cells.centre += cells.velocity * (1 - self.rounded()[:, None])
        self._divide()
        for _ in range(3):
            self._push(0.25)
        outside = np.abs(self.cells.centre - np.clip(self.cells.centre, self._low, self._high))
        self.keep(outside.max(axis=1) < self._diameter)

    def keep(self, which: np.ndarray) -> None:
        """Drops all cells except these."""
        self.cells = self.cells.take(which)

    def _divide(self) -> None:
        cells = self.cells
        ripe = cells.age >= 1
        if not ripe.any():
            return
        parents = cells.take(ripe)
        axis = np.stack([np.sin(parents.angle), np.cos(parents.angle)], axis=1)
        offset = 0.3 * self._diameter * axis
        self.keep(~ripe)
        for sign in (-1, 1):
            born = self._born(parents.centre + sign * offset)
            born = replace(born, parent=parents.number.copy(), velocity=sign * offset * 0.1)
            self.cells = self.cells.joined(born)

    def rounded(self) -> np.ndarray:
        """Roundness of each cell, 0..1, which is high just before and after a division."""
        span = min(0.25, 3.5 / self._cycle)
        age = self.cells.age
        return np.clip(np.maximum((age - 1 + span) / span, 1 - age / span), 0, 1)

    def radius(self) -> np.ndarray:
        """Radius in pixels of a disc with the area of each cell. The area doubles from birth to division."""
        return self._diameter / 2 * 2 ** ((self.cells.age - 0.5) / 2) * (1 - self._habit.rounding * self.rounded())

    def _push(self, strength: float) -> None:
        """Moves overlapping cells apart, and cells that nearly touch towards each other."""
        cells, radius = self.cells, self.radius()
        between = cells.centre[:, None] - cells.centre[None]
        distance = np.sqrt((between**2).sum(-1)) + 1e-9
        touching = self._habit.packing * (radius[:, None] + radius[None])
        gap = 1 - distance / touching
        np.fill_diagonal(gap, 0)
        force = np.where(gap > 0, gap, np.where(gap > -0.35, self._habit.adhesion * gap, 0))
        moves = (force * touching / distance)[..., None] * between
        cells.centre += strength * moves.sum(axis=1)
        self._stay(cells)

    def _stay(self, cells: Cells) -> None:
        """Pulls cells outside of the margin back gently, so that the density stays even."""
        cells.centre += 0.1 * (np.clip(cells.centre, self._low, self._high) - cells.centre)
