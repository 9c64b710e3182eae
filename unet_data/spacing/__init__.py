"""Pixel sizes: the target of a data set, and resampling of images, labels and predictions."""
