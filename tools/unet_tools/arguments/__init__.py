"""Resolves the arguments of commands: a data set, a network, a runtime."""
