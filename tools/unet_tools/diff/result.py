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
    """The comparison of one tensor. Errors are max |A − B| relative to max |B|.

    Attributes:
        what: "output", "input of decoder.1.block", "gradient of weight", ...
        own: error of A's code on B's values.
        inherited: error that A's code computes from the difference between A's and B's values.
        total: difference between A and B, each on its own values. At most own + inherited.
        bound: the part of `own` that rounding can explain; see `unet_tools.diff.bounds`.
        own_ulps, total_ulps: the same errors in units in the last place of the largest value.
        note: a note, such as why there is no value to compare.
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
        """A tensor that one side lacks or could not compute."""
        return cls(what, math.inf, math.inf, math.inf, 0.0, math.inf, math.inf, note)


@dataclass(frozen=True)
class Step:
    """A piece of a module's own code: a layer, or a module's code before, between or after its submodules.

    Attributes:
        name: the module's path (A's), with "#2" for its second call; "" is the network itself.
        other_name: path in B.
        kind: the classes, such as "Conv2d / Conv".
        direction: direction of the pass.
        place: "" for a layer; otherwise the submodule that a value goes to or comes from.
        readings: one per tensor.
        verdict: "differs": its own error exceeds the bound. "inherited": the error comes from an earlier step. "same":
            within rounding.
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
        """The reading whose own error exceeds its bound the most; if none does, the one with the largest total
        error."""
        return max(self.readings, key=lambda r: (r.differs, r.own / r.bound if r.bound else r.own, r.total))

    @property
    def trivial(self) -> bool:
        """Whether a module's own code only passes values on, up to rounding to its dtype."""
        return bool(self.place) and all(r.own_ulps <= 0.5 and not r.differs for r in self.readings)

    @property
    def label(self) -> str:
        return (self.name or "(network)") + (f" {self.place}" if self.place else "")


@dataclass(frozen=True)
class Comparison:
    """Two networks, compared layer by layer.

    Attributes:
        a, b: names of candidate and reference. Errors are those of A, relative to B.
        eps: spacing of 1.0 in the coarser dtype of the two outputs.
        steps: forward in the order of execution, then backward in the order of the gradients.
        unmatched: for each side, the calls without counterpart. Their code counts as own code of the caller.
        notes: what was not compared, with the reason.
    """

    a: str
    b: str
    eps: float
    steps: tuple[Step, ...]
    unmatched: dict[str, list[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether no step differs. Modules without counterpart are covered by the step of the module that
        calls them."""
        return not any(step.verdict == "differs" for step in self.steps)

    def first(self, direction: Direction = "forward") -> Step | None:
        """The first step that differs, in the order of the pass."""
        return next((s for s in self.steps if s.direction == direction and s.verdict == "differs"), None)

    def shown(self, direction: Direction) -> list[Step]:
        """The steps of one pass without the trivial ones."""
        return [step for step in self.steps if step.direction == direction and not step.trivial]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        firsts = {f"first_{direction}": self.first(direction) for direction in DIRECTIONS}
        named = {k: s and {"name": s.name, "place": s.place, "worst": asdict(s.worst)} for k, s in firsts.items()}
        return {"same": self.same} | named | asdict(self)
