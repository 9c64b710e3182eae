"""Writes a static web page that segments images in a browser."""
