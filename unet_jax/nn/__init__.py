"""Layers and blocks that the networks are made of. `unet_torch.nn` mirrors them."""
