"""The plugin for napari. Tests that need napari and Qt are skipped if these are not installed."""
