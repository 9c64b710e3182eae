"""Plans a training run from its data and its machine: each choice with its rule and the figure behind it."""
