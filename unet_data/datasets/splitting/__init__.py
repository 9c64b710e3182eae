"""Divides a data set into training and validation images."""

from .parts import Parts, check_validate, divide, split

__all__ = ["Parts", "check_validate", "divide", "split"]
