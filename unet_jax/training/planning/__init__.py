"""A training planned by its data and its machine: each choice, with the rule and the figure behind it."""
