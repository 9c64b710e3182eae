"""Measures of a segmentation: by pixels, objects, borders and samples."""
