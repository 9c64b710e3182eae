"""Measurements of runtimes, kept between commands: one file for a network, an input, a machine and its software."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from unet_spec import InputError
from unet_spec.files import cache_folder, writing
from unet_spec.untrusted.strict_json import read_object

from ...checking.bench.hardware import hardware, versions

PACKAGES = ("unet-twins", "numpy", "jax", "jaxlib", "flax", "torch", "onnxruntime", "onnxruntime-gpu", "MNN",
            "openvino", "tensorrt", "tensorrt-rtx-cu13")  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """A runtime that was measured.

    Attributes:
        prepare: seconds from its import to the first logits, with all that is compiled.
        rate: multiply-adds per second after that.
        error: largest difference from the reference runtime, relative to its largest logit.
    """

    prepare: float
    rate: float
    error: float

    def __post_init__(self) -> None:
        values = (self.prepare, self.rate, self.error)
        if any(isinstance(v, bool) or not isinstance(v, int | float) or not math.isfinite(v) for v in values):
            raise ValueError("a measurement is a finite number")
        if self.prepare < 0 or self.rate <= 0 or self.error < 0:
            raise ValueError("a time cannot be negative")


@dataclass
class Measurements:
    """What is known of the runtimes.

    Attributes:
        done: those that ran.
        failed: reasons why others did not.
        slow: seconds after which others were not ready.
    """

    done: dict[str, Measured] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Measurements:
        """From `asdict`. Raises ValueError, TypeError or AttributeError for anything else."""
        done = {str(name): Measured(**values) for name, values in document["done"].items()}
        failed = {str(name): str(reason) for name, reason in document["failed"].items()}
        return cls(done, failed, {str(name): float(limit) for name, limit in document["slow"].items()})


def key_of(identity: str, shape: tuple[int, ...], reference: str) -> dict[str, Any]:
    """All that measurements depend on.

    Args:
        identity: SHA-256 of the network, architecture and weights: `OpenNetwork.identity`.
        shape: of the input, float32.
        reference: the runtime that the others are compared with.
    """
    return {
        "network": identity,
        "input": list(shape),
        "dtype": "float32",
        "reference": reference,
        "machine": hardware(),  # processor, cores that the process may use, GPUs
        "software": versions(PACKAGES),
    }


def load(key: dict[str, Any]) -> Measurements | None:
    """What is kept under a key. None if there is nothing, or if it is damaged."""
    path = _path(key)
    if not path.exists():
        return None
    try:
        document = read_object(path)
        content = {"key": document["key"], "measurements": document["measurements"]}
        if document["sha256"] != _digest(content) or content["key"] != key:
            return None
        return Measurements.of(content["measurements"])
    except (InputError, KeyError, TypeError, ValueError, AttributeError):
        return None


def save(key: dict[str, Any], measurements: Measurements) -> None:
    """Keeps measurements. Raises OutputError if the cache folder cannot be written."""
    content = {"key": key, "measurements": asdict(measurements)}
    with writing(_path(key)) as temporary:
        temporary.write_text(json.dumps({**content, "sha256": _digest(content)}, indent=1) + "\n", encoding="utf-8")


def _path(key: dict[str, Any]) -> Path:
    return cache_folder() / "runtimes" / f"{_digest(key)[:32]}.json"


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
