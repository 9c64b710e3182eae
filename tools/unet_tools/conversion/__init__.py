"""Weights of other projects and formats, read and written."""
