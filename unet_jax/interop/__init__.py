"""The same network as Linen variables and as Orbax checkpoints."""
