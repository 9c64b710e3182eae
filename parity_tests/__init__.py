"""The proof: the parity battery, its planted bugs, and one folder of tests for each room."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "parity_tests" / "fixtures"
EXAMPLES = ROOT / "examples"
