"""Predicts labels for an image of any size: preparation, tiles, stitching, streaming."""
