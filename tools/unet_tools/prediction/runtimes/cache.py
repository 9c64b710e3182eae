"""Cache of runtime measurements: one file per network, input, machine and software."""

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
    """The measurement of a runtime.

    Attributes:
        prepare: seconds from the import to the first logits, including compilation.
        rate: multiply-adds per second after that.
        error: maximum difference from the reference runtime, relative to its largest logit.
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
    """The measurements of several runtimes.

    Attributes:
        done: measurements of the runtimes that ran.
        failed: reasons why other runtimes did not run.
        slow: for runtimes that were too slow, the seconds after which they were not ready.
    """

    done: dict[str, Measured] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Measurements:
        """The inverse of `asdict`. Raises ValueError, TypeError or AttributeError for other content."""
        done = {str(name): Measured(**values) for name, values in document["done"].items()}
        failed = {str(name): str(reason) for name, reason in document["failed"].items()}
        return cls(done, failed, {str(name): float(limit) for name, limit in document["slow"].items()})


def key_of(identity: str, shape: tuple[int, ...], reference: str) -> dict[str, Any]:
    """Everything that measurements depend on.

    Args:
        identity: SHA-256 of the network, architecture and weights: `OpenNetwork.identity`.
        shape: shape of the float32 input.
        reference: the runtime that the others are compared with.
    """
    return {
        "network": identity,
        "input": list(shape),
        "dtype": "float32",
        "reference": reference,
        "machine": hardware(),  # processor, usable cores, GPUs
        "software": versions(PACKAGES),
    }


def load(key: dict[str, Any]) -> Measurements | None:
    """Reads the measurements of a key. None if they are missing or damaged."""
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
    """Stores measurements. Raises OutputError if the cache folder cannot be written."""
    content = {"key": key, "measurements": asdict(measurements)}
    with writing(_path(key)) as temporary:
        temporary.write_text(json.dumps({**content, "sha256": _digest(content)}, indent=1) + "\n", encoding="utf-8")


def _path(key: dict[str, Any]) -> Path:
    return cache_folder() / "runtimes" / f"{_digest(key)[:32]}.json"


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
