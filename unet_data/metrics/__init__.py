"""Measures of a segmentation: pixels, objects, borders, samples."""
