"""From an image to labels of its size: preparation, tiles, stitching, streaming."""
