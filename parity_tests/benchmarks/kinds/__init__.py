"""The benchmark of kinds of images."""
