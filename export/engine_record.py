"""What is known of an engine that was built: all that decides whether it runs on a machine, before it is loaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from unet_spec import InputError

from .tensorrt_profile import Profile


@dataclass(frozen=True)
class EngineRecord:
    """What was built, as far as it can be known without running it.

    Attributes:
        file: name of the engine's file.
        backend, version: the library that built it; an engine runs on that version only.
        compute_capabilities: the GPUs that it is for, such as "89"; empty: the GPU that it was built on.
        precision: such as "fp16", checked against every tensor of the network that the builder was given.
        reproducible: built at fixed addresses, so that on the same machine, in the same environment, another build from
            the same model gives the same bytes.
        profile: the sizes that it is for.
        layer_types: outputs of layers per TensorRT dtype; integers are sizes.
        bytes, seconds, sha256: of the file; of the build alone; of the file's content.
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
        """As JSON has it, but for `seconds`, which no two builds share."""
        return {key: value for key, value in asdict(self).items() if key != "seconds"}

    @classmethod
    def from_dict(cls, values: Any, where: str) -> EngineRecord:
        """The inverse of `to_dict`. Raises InputError."""
        try:
            profile = Profile(**{key: tuple(shape) for key, shape in values["profile"].items()})
            capabilities = tuple(values["compute_capabilities"])
            changes = {"profile": profile, "compute_capabilities": capabilities, "seconds": 0.0}
            return cls(**{**values, **changes})
        except (TypeError, KeyError, AttributeError) as e:
            raise InputError(f"{where}: not the record of an engine ({type(e).__name__}: {e})") from None


def engine_name(backend: str, version: str, compute_capabilities: tuple[str, ...], precision: str) -> str:
    """Such as "tensorrt_rtx-1.7.1.116-sm80+86+89-fp16.plan"."""
    target = "sm" + "+".join(compute_capabilities) if compute_capabilities else "native"
    return f"{backend}-{version}-{target}-{precision}.plan"
