"""Exports for other software: the BioImage Model Zoo, a web page, C++."""
