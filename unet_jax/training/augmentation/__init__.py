"""Augmentation of training images, inside the jitted step."""
