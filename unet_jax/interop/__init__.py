"""Networks as Linen variables and as Orbax checkpoints."""
