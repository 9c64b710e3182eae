"""Planted bugs: each a change of one line in one twin, the weight map, the emitter or the trainer.

The parity battery must catch every one by an error that it measures, not by a crash. `python -m parity_tests.mutants`
runs them and says which check caught which; `pytest -m mutants` does so as tests.
"""

from parity_tests.mutants import (  # noqa: F401  they register
    emitter,
    families_jax,
    families_spec,
    families_torch,
    losses,
    trainer,
    twin_jax,
    twin_torch,
    weight_map,
)
from parity_tests.mutants.equivalent import EQUIVALENT
from parity_tests.mutants.judge import Verdict, judge
from parity_tests.mutants.registry import MUTANTS, Mutant

__all__ = ["EQUIVALENT", "MUTANTS", "Mutant", "Verdict", "judge"]
