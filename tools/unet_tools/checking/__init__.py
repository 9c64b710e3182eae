"""Every available runtime against the float64 reference."""
