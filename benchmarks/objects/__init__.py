"""Benchmarks of objects: scores, speed and memory."""
