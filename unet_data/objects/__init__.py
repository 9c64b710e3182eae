"""Separates objects in a map of probabilities, exactly, in windows of any size. README.md explains why it is exact."""
