"""Parts of one run: its folder, its state on disk, signals, the choice of the best checkpoint."""
