"""Compares every available runtime with the float64 reference."""
