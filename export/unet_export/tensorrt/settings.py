"""Options of an engine build, shared by `build_engine`, its child process, bundles and the command."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from unet_spec import Geometry, InputError, NetworkConfig

from ..precision.formats import MINIMUM_CAPABILITY, capabilities_for
from .profile import Profile, ProfileName

Backend = Literal["tensorrt_rtx", "tensorrt"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
RTX_CAPABILITIES = ("75", "80", "86", "89", "120", "121")
"""GPUs that TensorRT for RTX supports: Turing to Blackwell, except Hopper (90). For Hopper, 1.7.1 builds an engine but
does not load it ("does not support this compute capability", seen on an H200)."""
DEFAULT_CAPABILITIES = ("80", "86", "89", "120", "121")
"""Turing is excluded, since an engine for several GPUs uses only the features that all of them support."""


def available_backends() -> tuple[Backend, ...]:
    """Finds the installed TensorRT packages without importing them.

    Returns:
        The installed packages out of "tensorrt_rtx" and "tensorrt", in this order.

    Example:
        >>> from unet_export import available_backends
        >>> set(available_backends()) <= {"tensorrt_rtx", "tensorrt"}
        True
    """
    return tuple(name for name in BACKENDS if importlib.util.find_spec(name) is not None)


@dataclass(frozen=True)
class EngineSettings:
    """Settings of an engine build.

    Attributes:
        profile: Batch sizes that the engine accepts. latency: 1. throughput: 1 to 16, optimised for 8. general: 1 to 4,
            optimised for 1. Or a `Profile`.
        compute_capabilities: GPUs that TensorRT for RTX builds for, such as 86 and 89. None: all from 80 on that
            support the precision. TensorRT builds for the GPU of this machine.
        workspace_mib: Memory limit of a kernel in MiB. None: the builder's own limit.
        timing_cache: File in which the builder stores its kernel timings for reuse.
        version_compatible: Build engines that later versions of TensorRT can also load. Not for TensorRT for RTX.
        hardware_compatible: Build engines for all GPUs since Ampere. Not for TensorRT for RTX: list its
            `compute_capabilities` instead.
        backend: "tensorrt_rtx" or "tensorrt". None: the first that is installed; in a bundle, each that is installed.
        tf32: Multiply float32 values with a mantissa of ten bits. In a bundle, the precision decides.

    Raises:
        InputError: For a workspace below 1 MiB.

    Example:
        >>> from unet_export import EngineSettings, Profile
        >>> EngineSettings(Profile.fixed(1, 572, 572), compute_capabilities=("89",)).profile.max
        (1, 572, 572)
    """

    profile: ProfileName | Profile = "general"
    compute_capabilities: tuple[str, ...] | None = None
    workspace_mib: int | None = None
    timing_cache: Path | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False
    backend: Backend | None = None
    tf32: bool = False

    def __post_init__(self) -> None:
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise InputError(f"workspace_mib is {self.workspace_mib}; it must be at least 1")

    def sizes(self, geometry: Geometry) -> tuple[str, Profile]:
        """The profile and its name ("own" if it has none). Raises InputError for an unknown name."""
        if isinstance(self.profile, Profile):
            return "own", self.profile
        return self.profile, Profile.named(self.profile, geometry)

    def resolve(self, config: NetworkConfig, precision: str) -> tuple[Profile, Backend, tuple[str, ...]]:
        """Profile, backend and compute capabilities of an engine of a model in `precision`.

        Raises InputError for a profile off the network's grid, tf32 with a precision other than fp32, and a backend or
        compute capability that is unknown, not installed, or does not support the request.
        """
        profile = self.sizes(config.geometry)[1]
        profile.check(config)
        if self.tf32 and precision != "fp32":
            raise InputError(f"tf32 is for float32 models; the model is {precision}")
        backend = self.backend or next(iter(available_backends()), None)
        if backend is None:
            raise InputError("no TensorRT is installed; pip install 'unet-twins[tensorrt-rtx]'")
        if backend not in BACKENDS:
            raise InputError(f"unknown backend {backend!r}; allowed: {', '.join(BACKENDS)}")
        if backend not in available_backends():
            raise InputError(f"{backend} is not installed; pip install 'unet-twins[{backend.replace('_', '-')}]'")
        capabilities = self._capabilities(backend, "tf32" if self.tf32 else precision)
        self._check_compatibility(backend)
        return profile, backend, capabilities

    def check(self, engines: bool | None, precisions: Sequence[str]) -> None:
        """Raises InputError if a requested engine of a bundle cannot be built with these settings: see
        `build_engines`."""
        if engines is not False and self.compute_capabilities is not None:
            for precision in precisions:
                self._capabilities("tensorrt_rtx", precision)
        if engines:
            for backend in available_backends():
                self._check_compatibility(backend)

    def _capabilities(self, backend: str, precision: str) -> tuple[str, ...]:
        requested = self.compute_capabilities
        if backend != "tensorrt_rtx":
            if requested:
                raise InputError(
                    f"{backend} builds for the GPU of this machine; compute capabilities are for tensorrt_rtx"
                )
            return ()
        if requested is None:
            return capabilities_for(precision, DEFAULT_CAPABILITIES)
        unknown = [c for c in requested if c not in RTX_CAPABILITIES]
        if not requested or unknown:
            what = f"unknown compute capabilities {unknown}" if requested else "no compute capability given"
            raise InputError(f"{what}; TensorRT for RTX builds for {', '.join(RTX_CAPABILITIES)}")
        if lacking := [c for c in requested if c not in capabilities_for(precision, requested)]:
            raise InputError(
                f"compute capability {', '.join(lacking)} has no {precision}: its hardware begins with"
                f" {MINIMUM_CAPABILITY[precision]}"
            )
        return tuple(sorted(set(requested), key=int))

    def _check_compatibility(self, backend: str) -> None:
        if backend == "tensorrt_rtx" and self.version_compatible:
            raise InputError("tensorrt_rtx builds no version-compatible engines: it lacks the lean runtime")
        if backend == "tensorrt_rtx" and self.hardware_compatible:
            raise InputError(
                "tensorrt_rtx has no hardware-compatible engines; list several compute capabilities instead"
            )


@dataclass(frozen=True)
class Job:
    """The task of the child process.

    Attributes:
        settings: The resolved settings.
        shapes: Minimum, optimal and maximum shape of each input of the model, by name.
    """

    settings: EngineSettings
    shapes: dict[str, list[list[int]]]

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The inverse of `to_json`."""
        values = json.loads(text)
        settings = values["settings"]
        cache = settings["timing_cache"]
        settings["profile"] = Profile.from_dict(settings["profile"])
        settings["timing_cache"] = None if cache is None else Path(cache)
        settings["compute_capabilities"] = tuple(settings["compute_capabilities"])
        return cls(EngineSettings(**settings), values["shapes"])
