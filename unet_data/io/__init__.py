"""Reads image files, as a whole or by windows, and writes them."""
