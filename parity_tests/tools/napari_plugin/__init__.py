"""The plugin for napari. What needs napari and Qt skips where these are not installed."""
