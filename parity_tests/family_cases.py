"""The narrow configs of the other architectures, by their names in the battery, for other tests."""

from parity_tests.battery.cases import FAMILIES

__all__ = ["FAMILIES"]
