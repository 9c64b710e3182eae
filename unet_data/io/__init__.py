"""Image files: read, read by windows, written."""
