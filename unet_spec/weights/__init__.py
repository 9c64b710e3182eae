"""Weights: the map between frameworks, checkpoint folders, hubs, model cards, initial values."""
