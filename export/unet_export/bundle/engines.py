"""Builds the engines of a bundle, and records which were not built and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unet_spec import InputError

from ..tensorrt.build import build_engine
from ..tensorrt.child import Progress
from ..tensorrt.engine_record import EngineRecord, engine_name
from ..tensorrt.settings import Backend, EngineSettings, available_backends

FOLDER = "engines"


@dataclass(frozen=True)
class Source:
    """An ONNX file of the bundle that engines are built from.

    Attributes:
        file: Name of the file.
        precision: Precision of the engines.
        fused: Whether pre- or post-processing is fused into the model.
    """

    file: str
    precision: str
    fused: bool = False

    @property
    def label(self) -> str:
        """The end of an engine's name."""
        return f"{self.precision}-baked" if self.fused else self.precision


@dataclass(frozen=True)
class Built:
    """The engines of a bundle.

    Attributes:
        engines: Engines of the network without fused steps.
        fused: Engines of the model with fused pre- and post-processing.
        not_built: Entries of parity.json for the engines that were not built.
    """

    engines: tuple[EngineRecord, ...] = ()
    fused: tuple[EngineRecord, ...] = ()
    not_built: tuple[dict[str, str], ...] = ()


def build_engines(
    folder: Path,
    engines: bool | None,
    sources: Sequence[Source],
    settings: EngineSettings,
    progress: Progress | None = None,
) -> Built:
    """Builds into `folder`/engines. engines: True: every installed TensorRT. None: TensorRT for RTX only, which needs
    no GPU. False: none. Raises InputError if True is impossible."""
    if engines is False:
        return Built(not_built=({"runtime": "tensorrt", "reason": "no engine was requested"},))
    backends = available_backends() if settings.backend is None else (settings.backend,)
    if engines is None:
        backends = ("tensorrt_rtx",) if "tensorrt_rtx" in backends else ()
    if not backends:
        if engines:
            raise InputError("no TensorRT is installed; pip install 'unet-twins[tensorrt-rtx]', or use engines=False")
        return Built(not_built=({"runtime": "tensorrt_rtx", "reason": "not installed"},))
    (folder / FOLDER).mkdir()
    records: dict[bool, list[EngineRecord]] = {False: [], True: []}
    not_built = []
    for backend in backends:
        for source in sources:
            try:
                records[source.fused].append(_build(folder, backend, source, settings, progress))
            except InputError as e:
                if engines:
                    raise
                not_built.append({"runtime": backend, "precision": source.label, "reason": str(e)})
    if not any(records.values()):
        (folder / FOLDER).rmdir()
    return Built(tuple(records[False]), tuple(records[True]), tuple(not_built))


def _build(
    folder: Path, backend: Backend, source: Source, settings: EngineSettings, progress: Progress | None
) -> EngineRecord:
    temporary = folder / FOLDER / f"{backend}.plan"  # the final name has the version, which the build reports
    capabilities = settings.compute_capabilities if backend == "tensorrt_rtx" else None
    own = replace(settings, backend=backend, tf32=source.precision == "tf32", compute_capabilities=capabilities)
    record = build_engine(folder / source.file, temporary, own, progress)
    name = engine_name(record.backend, record.version, record.compute_capabilities, source.label)
    temporary.rename(temporary.with_name(name))
    return replace(record, file=name)
