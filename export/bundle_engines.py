"""The engines of a bundle: of which models, for which backends, and why others were not built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unet_spec import Geometry, InputError

from .engine_record import EngineRecord, engine_name
from .tensorrt_backend import available_backends, build_engine, check_capabilities, check_compatibility
from .tensorrt_child import Progress
from .tensorrt_profile import Profile, ProfileName

FOLDER = "engines"


@dataclass(frozen=True)
class EngineSettings:
    """How engines are built; see `build_engine`.

    Attributes:
        profile: the sizes, by name or outright.
        compute_capabilities: None takes all that have the precision.
        workspace: bytes that a kernel may use.
        timing_cache: a file that the builder's measurements are kept in.
        version_compatible, hardware_compatible: engines for later versions too, for every GPU since Ampere.
    """

    profile: ProfileName | Profile = "general"
    compute_capabilities: tuple[str, ...] | None = None
    workspace: int | None = None
    timing_cache: Path | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False

    def sizes(self, geometry: Geometry) -> tuple[str, Profile]:
        """The profile with its name ("own" where it has none). Raises InputError for an unknown name."""
        if isinstance(self.profile, Profile):
            return "own", self.profile
        return self.profile, Profile.named(self.profile, geometry)

    def check(self, engines: bool | None, precisions: Sequence[str]) -> None:
        """Raises InputError where an engine that is asked for can never be built: see `build_engines`."""
        if engines is not False and self.compute_capabilities is not None:
            for precision in precisions:
                check_capabilities(self.compute_capabilities, precision)
        if engines:
            for backend in available_backends():
                check_compatibility(backend, self.version_compatible, self.hardware_compatible)


@dataclass(frozen=True)
class Source:
    """An ONNX file of the bundle that engines are built from. baked: whether steps around the network are inside."""

    file: str
    precision: str
    baked: bool = False

    @property
    def label(self) -> str:
        """What an engine's name ends with."""
        return f"{self.precision}-baked" if self.baked else self.precision


@dataclass(frozen=True)
class Built:
    """Engines, those of the model with baked-in steps apart, and what was not built: an entry each of parity.json."""

    engines: tuple[EngineRecord, ...] = ()
    baked: tuple[EngineRecord, ...] = ()
    not_built: tuple[dict[str, str], ...] = ()


def build_engines(
    folder: Path,
    engines: bool | None,
    sources: Sequence[Source],
    settings: EngineSettings,
    profile: Profile,
    progress: Progress | None = None,
) -> Built:
    """Builds into `folder`/engines. engines: True for every TensorRT that is installed, None for TensorRT for RTX only,
    which needs no GPU, False for none. Raises InputError where True cannot be met."""
    if engines is False:
        return Built(not_built=({"runtime": "tensorrt", "reason": "no engine was asked for"},))
    backends = available_backends()
    if engines is None:
        backends = tuple(b for b in backends if b == "tensorrt_rtx")
    if not backends:
        if engines:
            raise InputError("no TensorRT is installed; pip install 'unet-twins[tensorrt-rtx]', or take engines=False")
        return Built(not_built=({"runtime": "tensorrt_rtx", "reason": "not installed"},))
    (folder / FOLDER).mkdir()
    records: dict[bool, list[EngineRecord]] = {False: [], True: []}
    not_built = []
    for backend in backends:
        for source in sources:
            try:
                records[source.baked].append(_build(folder, backend, source, settings, profile, progress))
            except InputError as e:
                if engines:
                    raise
                not_built.append({"runtime": backend, "precision": source.label, "reason": str(e)})
    if not any(records.values()):
        (folder / FOLDER).rmdir()
    return Built(tuple(records[False]), tuple(records[True]), tuple(not_built))


def _build(
    folder: Path, backend: str, source: Source, settings: EngineSettings, profile: Profile, progress: Progress | None
) -> EngineRecord:
    temporary = folder / FOLDER / f"{backend}.plan"  # its name says the version, which only the build knows
    record = build_engine(
        folder / source.file,
        temporary,
        backend=backend,
        profile=profile,
        compute_capabilities=settings.compute_capabilities if backend == "tensorrt_rtx" else None,
        workspace=settings.workspace,
        tf32=source.precision == "tf32",
        timing_cache=settings.timing_cache,
        version_compatible=settings.version_compatible,
        hardware_compatible=settings.hardware_compatible,
        progress=progress,
    )
    name = engine_name(record.backend, record.version, record.compute_capabilities, source.label)
    temporary.rename(temporary.with_name(name))
    return replace(record, file=name)
