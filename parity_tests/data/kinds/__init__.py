"""Inputs that programs often misread, one of each kind, made from a seed: `python -m parity_tests.data.kinds --seed 3`
runs the command on each and prints what it said (see `table`)."""
