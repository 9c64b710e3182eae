"""Devices and processes: meshes, work done by process 0, memory of a step."""
