"""What `unet train` prints and logs, and the demo, which begins with a training."""
