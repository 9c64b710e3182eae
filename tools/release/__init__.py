"""Builds and checks what a release publishes, and publishes nothing: `python -m tools.release -o dist`."""
