"""Timings of the runtimes of one bundle, each in a process of its own, and the hardware that they were made on."""
