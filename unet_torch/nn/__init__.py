"""Layers and blocks that the networks are made of. `unet_jax.nn` mirrors them."""
