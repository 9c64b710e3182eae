"""Benchmarks of objects."""
