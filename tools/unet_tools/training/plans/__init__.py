"""Plans of training runs and of training steps, for the commands."""
