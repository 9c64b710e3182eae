"""The fastest exact runtime for a network, an image and a machine: candidates, measurements, their cache."""
