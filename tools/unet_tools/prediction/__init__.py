"""Prediction from image files to result files."""
