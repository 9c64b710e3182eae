"""Finds images and labels in a folder, and reports the use of every file."""
