"""Synthetic pictures from a seed, with exact labels, for tests, examples and benchmarks."""
