"""Finds the layer where two networks diverge, forward or backward. README.md explains the method."""

from .compare import compare
from .result import Comparison, Reading, Step
from .sides.modules import compare_modules

__all__ = ["Comparison", "Reading", "Step", "compare", "compare_modules"]
