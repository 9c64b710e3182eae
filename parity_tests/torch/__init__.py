"""Tests of unet_torch."""
