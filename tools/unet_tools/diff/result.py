"""The result of a comparison."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Direction = Literal["forward", "backward"]
DIRECTIONS: tuple[Direction, ...] = ("forward", "backward")
Verdict = Literal["same", "inherited", "differs"]


@dataclass(frozen=True)
class Reading:
    """One tensor, compared. Errors are max |A − B| relative to max |B|.

    Attributes:
        what: "output", "input of decoder.1.block", "gradient of weight", ...
        own: A's code on B's values, against B.
        inherited: what A's code makes of the difference between A's values and B's.
        total: A against B, each on its own values. At most own + inherited.
        bound: the part of `own` that rounding can explain; see `unet_tools.diff.bounds`.
        own_ulps, total_ulps: the same errors in units in the last place of the largest value.
        note: a remark, such as why there is no value to compare.
    """

    what: str
    own: float
    inherited: float
    total: float
    bound: float
    own_ulps: float
    total_ulps: float
    note: str = ""

    @property
    def differs(self) -> bool:
        return not self.own <= self.bound  # true for NaN

    @classmethod
    def missing(cls, what: str, note: str) -> Reading:
        """A tensor that one side does not have, or could not compute."""
        return cls(what, math.inf, math.inf, math.inf, 0.0, math.inf, math.inf, note)


@dataclass(frozen=True)
class Step:
    """One stretch of a module's own code: that of a layer, or what a module does before, between or after the modules
    within it.

    Attributes:
        name: the module's path (A's), with "#2" for its second call; "" is the network itself.
        other_name: the same in B.
        kind: the classes, "Conv2d / Conv".
        direction: direction of the pass.
        place: "" for a layer, else where in the module's code: the module that a value goes to or comes back from.
        readings: one for each tensor.
        verdict: "differs": the error is its own. "inherited": it comes from an earlier step. "same": within rounding.
    """

    name: str
    other_name: str
    kind: str
    direction: Direction
    place: str
    readings: tuple[Reading, ...]
    verdict: Verdict = "same"

    @property
    def worst(self) -> Reading:
        """The reading whose own error is the farthest beyond its bound; where none is, the largest total error."""
        return max(self.readings, key=lambda r: (r.differs, r.own / r.bound if r.bound else r.own, r.total))

    @property
    def trivial(self) -> bool:
        """Whether a module's own code merely passes values on, up to the rounding to its dtype."""
        return bool(self.place) and all(r.own_ulps <= 0.5 and not r.differs for r in self.readings)

    @property
    def label(self) -> str:
        return (self.name or "(network)") + (f" {self.place}" if self.place else "")


@dataclass(frozen=True)
class Comparison:
    """Two networks, compared layer by layer.

    Attributes:
        a, b: the names of the two sides: candidate and reference. Errors are A's, relative to B.
        eps: spacing of 1.0 in the coarser of the two outputs' dtypes.
        steps: forward in the order of execution, then backward in the order of the gradients.
        unmatched: for each side, the calls without counterpart. Their code counts as their caller's own.
        notes: what was not compared, and why.
    """

    a: str
    b: str
    eps: float
    steps: tuple[Step, ...]
    unmatched: dict[str, list[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether no step has an error of its own. Modules without counterpart hide nothing: the step of the module
        that calls them covers their code."""
        return not any(step.verdict == "differs" for step in self.steps)

    def first(self, direction: Direction = "forward") -> Step | None:
        """The first step with an error of its own, in the order of that pass."""
        return next((s for s in self.steps if s.direction == direction and s.verdict == "differs"), None)

    def shown(self, direction: Direction) -> list[Step]:
        """The steps of one pass without the trivial ones."""
        return [step for step in self.steps if step.direction == direction and not step.trivial]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        firsts = {f"first_{direction}": self.first(direction) for direction in DIRECTIONS}
        named = {k: s and {"name": s.name, "place": s.place, "worst": asdict(s.worst)} for k, s in firsts.items()}
        return {"same": self.same} | named | asdict(self)
