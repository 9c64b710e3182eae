"""Timings of a bundle in several runtimes, each in its own process, and the hardware."""
