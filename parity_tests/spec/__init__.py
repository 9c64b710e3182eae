"""Tests of unet_spec."""
