"""Random changes of training images, inside the jitted step."""
