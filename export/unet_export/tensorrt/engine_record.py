"""The record of an engine: all facts that determine whether a machine can run it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from unet_spec import InputError

from .profile import Profile


@dataclass(frozen=True)
class EngineRecord:
    """Facts about an engine, known without running it.

    Attributes:
        file: Name of the engine's file.
        backend: The library that built it, "tensorrt_rtx" or "tensorrt".
        version: The library's version; an engine runs on that version only.
        compute_capabilities: Supported GPUs, such as "89"; empty: the GPU that it was built on.
        precision: Precision, such as "fp16", checked against every tensor of the builder's network.
        reproducible: Whether it was built at fixed addresses, so that the same model gives the same bytes on the same
            machine in the same environment.
        profile: Accepted sizes.
        layer_types: Number of layer outputs per TensorRT dtype; integers are sizes.
        bytes: Size of the file.
        seconds: Duration of the build.
        sha256: SHA-256 of the file's content, in hexadecimal.

    Example:
        >>> from unet_export import EngineRecord, Profile
        >>> sizes = Profile.fixed(1, 572, 572)
        >>> record = EngineRecord("a.plan", "tensorrt", "11.0", (), "fp16", True, sizes, {"HALF": 30}, 1, 0.0, "0" * 64)
        >>> EngineRecord.from_dict(record.to_dict(), "a.json") == record
        True
    """

    file: str
    backend: str
    version: str
    compute_capabilities: tuple[str, ...]
    precision: str
    reproducible: bool
    profile: Profile
    layer_types: dict[str, int]
    bytes: int
    seconds: float
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """All fields for JSON except `seconds`, which differs between builds."""
        return {key: value for key, value in asdict(self).items() if key != "seconds"}

    @classmethod
    def from_dict(cls, values: Any, where: str) -> EngineRecord:
        """The inverse of `to_dict`. Raises InputError."""
        try:
            profile, capabilities = Profile.from_dict(values["profile"]), tuple(values["compute_capabilities"])
            return cls(**{**values, "profile": profile, "compute_capabilities": capabilities, "seconds": 0.0})
        except (TypeError, KeyError, AttributeError) as e:
            raise InputError(f"{where}: not the record of an engine ({type(e).__name__}: {e})") from None


def engine_name(backend: str, version: str, compute_capabilities: tuple[str, ...], precision: str) -> str:
    """File name of an engine, such as "tensorrt_rtx-1.7.1.116-sm80+86+89-fp16.plan"."""
    target = "sm" + "+".join(compute_capabilities) if compute_capabilities else "native"
    return f"{backend}-{version}-{target}-{precision}.plan"
