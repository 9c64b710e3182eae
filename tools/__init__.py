"""The `unet` command and the benchmarks. Imported as `unet_tools`."""
