"""Chooses the fastest exact runtime for a network, an image and a machine: candidates, measurements, cache."""
