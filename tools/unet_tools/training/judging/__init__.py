"""Assessment of a training: its trend and the verdict."""
