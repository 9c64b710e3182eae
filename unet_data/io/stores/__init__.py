"""Where images and results lie besides local files: zarr stores, also those of an object store."""
