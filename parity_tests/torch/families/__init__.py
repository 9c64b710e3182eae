"""Tests of the modules of the same place in the product."""
