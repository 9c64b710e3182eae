"""Layers and blocks of the networks. `unet_torch.nn` mirrors them."""
