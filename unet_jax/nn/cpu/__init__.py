"""Faster operations for a training step on one CPU. Results are equal up to float32 rounding.

XLA's CPU code is slow in three parts of a U-Net's step: convolutions (`convolution`, `winograd`), sums over all pixels
of a channel, which are the gradient of every bias and the statistics of every norm (`reductions`), and the gradient of
a 1x1 convolution's kernel. When `make_step` compiles for one CPU, it therefore sets the attribute `cpu_step` of all
layers that have it: `model.set_attributes(cpu_step=True)`. In all other programs the layers use XLA's operations.
"""
