"""Builds unet-weights, the package of networks to start with, from labelled images: `python -m tools.weights.build`."""
