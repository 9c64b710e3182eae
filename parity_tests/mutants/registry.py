"""The class of mutants, and the list of all."""

from __future__ import annotations

from dataclasses import dataclass

from .plant import Plant

NETWORK = (
    "forward.eval",
    "forward.layers",
    "forward.train",
    "gradients.float64",
    "statistics.network",
    "statistics.layer",
)
"""Checks for a change in a twin: the general checks of a network. Checks that do not apply to the case are left out."""
MAPPING = (
    "mapping.bijection",
    "mapping.round_trip",
    "mapping.checkpoint",
    "mapping.aliasing",
    "forward.eval",
    "gradients.float64",
)
ONNX = ("onnx.ours", "onnx.evaluator", "onnx.lowered")
LOSSES = ("losses.cross_entropy", "losses.others", "losses.edges", "gradients.float64")


@dataclass(frozen=True)
class Mutant:
    """One planted bug.

    Attributes:
        name: short name that starts with the changed part.
        what: the bug in one line.
        case: case of the battery to run.
        checks: checks of the battery to run.
        plant: the reversible change.
    """

    name: str
    what: str
    case: str
    checks: tuple[str, ...]
    plant: Plant


MUTANTS: dict[str, Mutant] = {}


def add(name: str, what: str, case: str, checks: tuple[str, ...], plant: Plant) -> None:
    if name in MUTANTS:
        raise ValueError(f"two mutants are called {name!r}")
    MUTANTS[name] = Mutant(name, what, case, checks, plant)
