"""What a training step on one CPU computes in another way, with the same numbers to float32 rounding.

XLA's CPU code is slow in three places of a U-Net's step: convolutions (`convolution`, `winograd`), sums over all pixels
of a channel, which are the gradient of every bias and the statistics of every norm (`reductions`), and the gradient of
a 1x1 convolution's kernel. `make_step` therefore sets the attribute `cpu_step` of the layers that have one, where it
compiles for one CPU: `model.set_attributes(cpu_step=True)`. Everywhere else the layers are XLA's own operations.
"""
