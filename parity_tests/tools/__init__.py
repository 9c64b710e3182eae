"""Tests of unet_tools."""
