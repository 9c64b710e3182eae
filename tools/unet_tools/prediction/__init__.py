"""Images from file to file through a network."""
