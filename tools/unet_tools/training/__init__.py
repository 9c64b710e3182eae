"""Parts of `unet train`, and the demo, which starts with a training run."""
