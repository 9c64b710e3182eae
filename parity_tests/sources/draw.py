"""Random weights and inputs that NumPy alone can draw again: what a recorded output belongs to."""

from __future__ import annotations

import numpy as np


def tensor(rng: np.random.Generator, name: str, shape: tuple[int, ...], gain: float) -> np.ndarray:
    """Scales and variances in 0.5 … 1.5, shifts and means in ±0.5, weights of `gain` times He's spread, counters."""
    if name.endswith("num_batches_tracked"):
        return rng.integers(1, 1000, shape)
    if len(shape) > 1:
        fan_in = np.prod(shape[:-1]) if name.endswith("kernel") else np.prod(shape[1:])  # Keras: H W I O
        return rng.normal(0, gain * np.sqrt(2 / fan_in), shape).astype(np.float32)
    scale = name.endswith(("weight", "running_var"))
    return (rng.uniform(0.5, 1.5, shape) if scale else rng.uniform(-0.5, 0.5, shape)).astype(np.float32)


def tensors(layout: list[tuple[str, tuple[int, ...]]], seed: int = 0, gain: float = 1.0) -> dict[str, np.ndarray]:
    """One after the other, in the layout's order.

    With a gain of 1, each of many residual blocks doubles the variance, and rounding grows with it: a smaller one keeps
    a deep network's float32 noise small enough to see mistakes in."""
    rng = np.random.default_rng(seed)
    return {name: tensor(rng, name, tuple(shape), gain) for name, shape in layout}


def image(channels: int, size: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """(2, *size, channels) float32, of mean 1."""
    return np.moveaxis(np.random.default_rng(seed).normal(1, 1, (2, channels, *size)).astype(np.float32), 1, -1)


def sample(output: np.ndarray, count: int = 40) -> np.ndarray:
    """Values from all over an output (N, *spatial, K)."""
    flat = output.ravel()
    return flat[np.linspace(0, flat.size - 1, count).astype(int)]
