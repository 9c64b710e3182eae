"""The package unet_tools, and programs that need a checkout: `python -m tools.weights.build`, `tools.release`."""
