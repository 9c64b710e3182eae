"""Reads and writes weights of other projects and formats."""
