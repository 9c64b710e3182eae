"""Assessment of a training run: trend and verdict."""
