"""Plans of a training and of a step, as the commands make and print them."""
