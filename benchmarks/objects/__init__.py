"""Benchmarks of objects: how good, how fast, and in how much memory."""
