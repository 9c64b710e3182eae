"""What came of a training: its trend and the verdict."""
