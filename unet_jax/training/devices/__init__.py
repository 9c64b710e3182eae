"""Devices and processes: meshes, work on process 0, memory of a step."""
