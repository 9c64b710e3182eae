"""Writes and reads bundles, the folders for deployment."""
