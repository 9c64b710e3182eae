"""Training: `train`, the jitted step, settings and recipes."""
