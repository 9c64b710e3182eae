"""A network that is ready to run, in any runtime."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from unet_spec import DataSpec, NetworkConfig
from unet_spec.weights.checkpoint import CONFIG, WEIGHTS

from ..io.facts import ReadSettings, stored_reading
from .prepare import prepare
from .stitch import Run

if TYPE_CHECKING:
    from jaxtyping import Float32, Shaped


@runtime_checkable
class Runtime(Protocol):
    """Computes logits (N, *spatial, K) float32 from prepared images (N, *spatial, C) float32 of a size that fits.

    A runtime that can also compute by strips has a method `stream` (see `unet_data.inference.strips`).
    """

    @property
    def name(self) -> str: ...
    @property
    def config(self) -> NetworkConfig: ...
    @property
    def run(self) -> Run: ...


@dataclass(frozen=True)
class OpenNetwork:
    """A network that is ready to run.

    Attributes:
        runtime: runtime that computes it: `unet_torch.TorchRuntime`, `unet_jax.JaxRuntime`, `unet_export.OnnxRuntime`,
            …
        data: how its images are prepared; `DataSpec()` only divides integers by the maximum of their type.
        weights: folder of its checkpoint or bundle. An interrupted prediction can only be resumed with the same
            weights or, if this is None, with the same object.

    Example:
        >>> from unet_data import OpenNetwork
        >>> from unet_spec import DataSpec, preset
        >>> class Brightness:  # a runtime: images (N, H, W, 1) to logits (N, H, W, 2)
        ...     name, config = "brightness", preset("same")
        ...     def run(self, images):
        ...         return np.concatenate([1 - images, images], -1)
        >>> OpenNetwork(Brightness(), DataSpec()).config.out_channels
        2
    """

    runtime: Runtime
    data: DataSpec
    weights: Path | None = None

    @property
    def name(self) -> str:
        """The name of the runtime."""
        return self.runtime.name

    @property
    def config(self) -> NetworkConfig:
        """The architecture."""
        return self.runtime.config

    @property
    def run(self) -> Run:
        """Computes logits from prepared images: see `Runtime`."""
        return self.runtime.run

    @property
    def sizes(self) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """The smallest and the largest input (N, *spatial) that the runtime accepts, such as those of an engine's
        profile. None: no limit."""
        profile = getattr(getattr(self.runtime, "record", None), "profile", None)
        return None if profile is None else (tuple(profile.min), tuple(profile.max))

    @property
    def reading(self) -> ReadSettings:
        """The settings with which training read its files: see `stored_reading`."""
        return stored_reading(self.data)

    def prepare(self, images: Shaped[np.ndarray, "n *spatial c"]) -> Float32[np.ndarray, "n *spatial c"]:
        """Converts images as read to the input of `run`: see `prepare`."""
        return prepare(images, self.config, self.data)

    @cached_property
    def identity(self) -> str:
        """SHA-256 of a checkpoint's files, or of a bundle's manifest, which has the checksums of its other files."""
        if self.weights is None:
            return uuid.uuid4().hex
        sha = hashlib.sha256()
        for name in ("manifest.json", CONFIG, WEIGHTS):
            if (self.weights / name).is_file():
                sha.update((self.weights / name).read_bytes())
        return sha.hexdigest()
