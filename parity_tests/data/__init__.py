"""Tests of unet_data."""
