"""Untrusted input: JSON and archives are read within limits, texts are made safe to print."""
