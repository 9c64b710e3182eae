"""The sides of `unet diff`: graphs and modules, traced layer by layer."""
