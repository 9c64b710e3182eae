"""Tiles, strips and memory of a large image, planned before anything is computed."""
