"""Weights: the map between frameworks, the checkpoint folder, hubs, model cards, seeded values."""
