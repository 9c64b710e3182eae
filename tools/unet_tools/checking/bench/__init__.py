"""Timings of a bundle in several runtimes, each in a separate process, and the hardware."""
