"""The plugin for napari: `pip install "unet-twins[napari]"`, then Plugins > U-Net twins. docs/napari.md shows it."""
