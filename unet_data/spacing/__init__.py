"""Pixel sizes of images, and interpolation between grids of pixels."""
