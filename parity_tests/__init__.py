"""Tests: the parity battery, its planted bugs, and one folder of tests per package."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "parity_tests" / "fixtures"
EXAMPLES = ROOT / "examples"

NO_BYTECODE = {"PYTHONPYCACHEPREFIX": str(ROOT / "parity_tests" / "none"), "PYTHONDONTWRITEBYTECODE": "1"}
"""Environment variables of a process in which jaxtyping checks a package. Its import hook stores the bytecode of
modules that it does not check, if a checked one imports them, under the name of checked ones; others would load it."""
