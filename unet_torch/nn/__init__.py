"""Layers and blocks of the networks. `unet_jax.nn` mirrors them."""
