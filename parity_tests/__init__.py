"""Tests: the parity battery, its planted bugs, and one folder of tests per package."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "parity_tests" / "fixtures"
EXAMPLES = ROOT / "examples"
