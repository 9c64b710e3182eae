"""Tests of unet_jax."""
