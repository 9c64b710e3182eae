"""Resolves arguments of commands: data sets, networks, runtimes."""
