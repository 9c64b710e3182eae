"""Access to zarr stores, local or in an object store."""
