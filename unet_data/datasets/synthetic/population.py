"""Cells that move, grow, push each other and divide: where they are and what shape they have, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Complex128, Float64, Int64

MODES = 7
"""Waves around the outline of a cell, beginning with the second: the first one would only move it."""

NUCLEOLI = 3


@dataclass(frozen=True)
class Habit:
    """How the cells of a style live.

    Attributes:
        packing: distance at which neighbours push each other, over the sum of their radii.
        adhesion: how strongly near neighbours pull each other, in 0..1.
        outline: standard deviation of the second wave of the outline's logarithm.
        decay: that of wave k falls with k ** -decay.
        stretch: mean logarithm of length over width.
        rounding: share of the radius that a dividing cell loses as it rounds up.
    """

    packing: float
    adhesion: float
    outline: float
    decay: float
    stretch: float
    rounding: float


@dataclass
class Cells:
    """The cells of a moment. Positions and lengths are in pixels, y before x; n cells.

    Attributes:
        centre, velocity: (n, 2).
        angle: radians, of the long axis.
        age: 0 at birth, 1 at division; rate: what is added each frame.
        stretch: logarithm of length over width.
        waves: waves of the logarithm of the outline, from the second on.
        nucleus: (n, 2), its centre over the radius of the cell; nucleoli: (n, NUCLEOLI, 2), theirs over that of the
            nucleus.
        grain: (n, 2), where the cell's texture lies in the texture that all share.
        number: number of its track; 0 before it is seen.
        parent: number of the cell of which it was born in this frame, else 0.
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
        """Some of them, by position or mask."""
        return Cells(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    def joined(self, others: Cells) -> Cells:
        """These and then the others."""
        parts = {f.name: (getattr(self, f.name), getattr(others, f.name)) for f in fields(self)}
        return Cells(**{name: np.concatenate(pair) for name, pair in parts.items()})


class Population:
    """Cells in a field and in a margin around it, out of which others come.

    Args:
        rng: what is drawn from.
        shape: (H, W) of the field.
        count: cells in the field, about.
        diameter: mean of the cells, in pixels.
        cycle: frames between two divisions of a cell, on average.
        speed: pixels per frame.
        habit: how they live.
        margin: around the field, in diameters.
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
        """Centres: points of a sequence that fills a rectangle evenly (Roberts 2018, R2), moved a little."""
        golden = 1.32471795724474602596
        steps = np.outer(np.arange(1, total + 1), [1 / golden, 1 / golden**2])
        even = (steps + self._rng.random(2)) % 1
        spread = np.sqrt(world.prod() / total)
        return self._low + even * world + self._rng.normal(0, 0.15 * spread, (total, 2))

    def _born(self, centre: np.ndarray) -> Cells:
        """New cells at these places, each with looks of its own."""
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
        """To the next frame: cells age, change their shape, move, divide, push each other."""
        cells, rng = self.cells, self._rng
        cells.parent[:] = 0
        cells.age += cells.rate
        kept = 0.94  # of the outline; the rest is new, so that its spread stays
        cells.waves = kept * cells.waves + np.sqrt(1 - kept**2) * self._waves(len(cells.age))
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
        """Drops the others."""
        self.cells = self.cells.take(which)

    def _divide(self) -> None:
        cells = self.cells
        ripe = cells.age >= 1
        if not ripe.any():
            return
        parents = cells.take(ripe)
        axis = np.stack([np.sin(parents.angle), np.cos(parents.angle)], axis=1)
        apart = 0.3 * self._diameter * axis
        self.keep(~ripe)
        for sign in (-1, 1):
            born = self._born(parents.centre + sign * apart)
            born = replace(born, parent=parents.number.copy(), velocity=sign * apart * 0.1)
            self.cells = self.cells.joined(born)

    def rounded(self) -> np.ndarray:
        """How round each cell is for its division, before and after it, 0..1."""
        span = min(0.25, 3.5 / self._cycle)
        age = self.cells.age
        return np.clip(np.maximum((age - 1 + span) / span, 1 - age / span), 0, 1)

    def radius(self) -> np.ndarray:
        """Of a disc of the area of each cell, in pixels. The area doubles from birth to division."""
        return self._diameter / 2 * 2 ** ((self.cells.age - 0.5) / 2) * (1 - self._habit.rounding * self.rounded())

    def _push(self, strength: float) -> None:
        """Moves cells that overlap apart, and those that nearly touch together."""
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
        """The margin's end holds cells back softly, so that they do not run dry or pile up."""
        cells.centre += 0.1 * (np.clip(cells.centre, self._low, self._high) - cells.centre)
