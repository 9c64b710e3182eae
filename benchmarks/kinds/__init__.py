"""Training without settings on kinds of images that chose no rule."""
