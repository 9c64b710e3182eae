"""What a command's arguments name: a data set, a network, a runtime."""
