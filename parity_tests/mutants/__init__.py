"""Planted bugs: each changes one line in one twin, the weight map, the emitter or the trainer.

The parity battery must catch every bug by a measured error, not by a crash. `python -m parity_tests.mutants` runs them
and reports which check caught which bug; `pytest -m mutants` runs them as tests.
"""

from . import emitter, families_jax, families_spec, families_torch, losses, trainer, twin_jax, twin_torch, weight_map  # noqa: F401
from .equivalent import EQUIVALENT
from .judge import Verdict, judge
from .registry import MUTANTS, Mutant

__all__ = ["EQUIVALENT", "MUTANTS", "Mutant", "Verdict", "judge"]
