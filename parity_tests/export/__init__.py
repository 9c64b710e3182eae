"""Tests of unet_export."""
