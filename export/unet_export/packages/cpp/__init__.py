"""Writes a folder of C++ sources that segment images without Python."""
