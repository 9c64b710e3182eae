"""Writing a bundle: the folder that a deployment team receives. `unet_export.manifest` says what is in it."""

from __future__ import annotations

import io
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unet_data.prepare import prepare
from unet_spec import Checkpoint, Geometry, InputError

from . import parity
from .baked import bake, check_steps
from .describe import describe, describe_baked
from .manifest import (
    CARD,
    GOLDEN,
    MANIFEST,
    ONNX,
    PARITY,
    Bundle,
    file_sha256,
    is_bundle,
    open_bundle,
)
from .model_card import model_card
from .onnx_emitter import emit_onnx, save_onnx
from .onnx_runtime import OnnxRuntime
from .precision import Precision
from .precision_search import judge
from .tensorrt_backend import (
    EngineRecord,
    Progress,
    available_backends,
    build_engine,
    check_capabilities,
    engine_name,
)
from .tensorrt_profile import Profile, ProfileName
from .triton import FOLDER as TRITON
from .triton import write_repository
from .variants import Variant, choose_variants


@dataclass(frozen=True)
class EngineSettings:
    """How engines are built; see `build_engine`.

    Attributes:
        profile: the sizes, by name or outright.
        compute_capabilities: None takes all that have the precision.
        workspace: bytes that a kernel may use.
        timing_cache: a file that the builder's measurements are kept in.
    """

    profile: ProfileName | Profile = "general"
    compute_capabilities: tuple[str, ...] | None = None
    workspace: int | None = None
    timing_cache: Path | None = None

    def sizes(self, geometry: Geometry) -> tuple[str, Profile]:
        """The profile with its name ("own" where it has none). Raises InputError for an unknown name."""
        if isinstance(self.profile, Profile):
            return "own", self.profile
        return self.profile, Profile.named(self.profile, geometry)


def write_bundle(
    checkpoint: Checkpoint,
    folder: str | os.PathLike[str],
    *,
    engines: bool | None = None,
    precisions: Sequence[Precision] = ("fp32",),
    calibration: Sequence[np.ndarray] | None = None,
    baked: Sequence[str] = (),
    settings: EngineSettings | None = None,
    golden_image: np.ndarray | None = None,
    licence: str | None = None,
    extras: Mapping[str, str] | None = None,
    tell: Callable[[str], None] = lambda line: None,
    progress: Progress | None = None,
) -> Bundle:
    """Writes the bundle: wholly or not at all. An existing bundle is replaced.

    engines: True builds one for every TensorRT that is installed, in every precision; None builds those that TensorRT
    for RTX takes if that is installed, and notes in parity.json why not, if not; False builds none.
    precisions: in the order in which a runtime should prefer them; float32 is always there.
    calibration: images (*spatial, C), uint8, uint16 or floating, of the kind that will be segmented: int8 and fp8 need
    them, and every narrow precision is judged on them; None judges on the golden image.
    baked: of normalize, softmax and argmax, those that a further model of the first precision shall contain.
    golden_image: (*spatial, C), of any size; it goes into the bundle. None takes the middle of the last calibration
    image, or a synthetic one. licence: of the weights, as its readers shall see it. extras: further text files by
    name, such as nnunet.json. tell: called with a line per precision. progress: called by the engine builder.

    Raises InputError where `folder` holds anything but a bundle, weights are not finite, the golden image does not
    suit the network, an engine was asked for and cannot be built, ONNX Runtime is further than `parity.BOUND` from
    the reference, or a precision changes more labels than `precision.AGREEMENT` allows.
    """
    path = Path(folder)
    _check_target(path)
    config, data = checkpoint.config, checkpoint.data
    settings = settings or EngineSettings()
    steps = check_steps(baked)
    sizes = settings.sizes(config.geometry)
    sizes[1].check(config)
    if engines is not False and settings.compute_capabilities is not None:
        for precision in precisions:  # before minutes are spent on finding its recipe
            check_capabilities(settings.compute_capabilities, precision)
    image = parity.default_golden_image(checkpoint, calibration) if golden_image is None else np.asarray(golden_image)
    network_input = parity.whole_input(config.geometry, prepare(image[None], config, data)[0])
    model = emit_onnx(config, checkpoint.tensors, data)  # refuses weights that are not finite before anything is run
    reference = parity.reference_logits(checkpoint, network_input)
    variants = choose_variants(checkpoint, precisions, calibration, (network_input, reference), tell)

    with _replacing_folder(path) as new:
        save_onnx(model, new / ONNX)
        for variant in variants:
            if variant.file != ONNX:
                save_onnx(emit_onnx(config, checkpoint.tensors, data, recipe=variant.recipe), new / variant.file)
        baked_entry = _bake(new, checkpoint, variants[0], steps)
        wanted = [v for v in variants if v.precision in precisions]
        records, not_built = _build_engines(new, engines, wanted, settings, sizes[1], progress)
        _write_golden(new / GOLDEN, image, network_input, reference)
        found = _parity(new, checkpoint, variants, records, not_built, network_input, reference)
        _write_json(new / PARITY, found)
        plans = [(record, new / "engines" / record.file) for record in records]
        write_repository(new / TRITON, config, data, new / ONNX, plans)
        manifest = describe(checkpoint, variants, records, sizes if records else None, baked_entry, licence)
        for name, text in (extras or {}).items():
            (new / name).write_text(text, encoding="utf-8")
        card = model_card(manifest, found) + "".join(map(_told_of, extras or {}))
        (new / CARD).write_text(card, encoding="utf-8")
        files = sorted(p for p in new.rglob("*") if p.is_file())
        manifest["files"] = {
            p.relative_to(new).as_posix(): {"sha256": file_sha256(p), "bytes": p.stat().st_size} for p in files
        }
        _write_json(new / MANIFEST, manifest)
        open_bundle(new)  # what we write, we can read
    return open_bundle(path)


def _told_of(name: str) -> str:
    """The card's line for an extra file."""
    told = {
        "nnunet.json": "nnU-Net's plans. `unet predict` prepares, tiles and labels NIfTI images as they say; the"
        " preparation above and `triton/` are of the bare network."
    }
    return f"- `{name}`: {told.get(name, 'comes with the checkpoint.')}\n"


def default_profile(geometry: Geometry) -> Profile:
    """From the smallest image to four tiles at once, best for one tile."""
    return Profile.named("general", geometry)


def _bake(folder: Path, checkpoint: Checkpoint, variant: Variant, steps: Sequence[Any]) -> dict[str, Any] | None:
    if not steps:
        return None
    model = emit_onnx(checkpoint.config, checkpoint.tensors, checkpoint.data, recipe=variant.recipe)
    file = f"model-{variant.precision}-baked.onnx"
    save_onnx(bake(model, checkpoint.config, checkpoint.data, steps), folder / file)
    return describe_baked(checkpoint, file, variant.precision, steps)


def _build_engines(
    folder: Path,
    engines: bool | None,
    variants: Sequence[Variant],
    settings: EngineSettings,
    profile: Profile,
    progress: Progress | None,
) -> tuple[tuple[EngineRecord, ...], list[dict[str, str]]]:
    """Engines and, by backend and precision, why others were not built."""
    if engines is False:
        return (), [{"runtime": "tensorrt", "reason": "no engine was asked for"}]
    backends = available_backends()
    if engines is None:
        backends = tuple(b for b in backends if b == "tensorrt_rtx")
    if not backends:
        if engines:
            raise InputError("no TensorRT is installed; pip install 'unet-twins[tensorrt-rtx]', or take engines=False")
        return (), [{"runtime": "tensorrt_rtx", "reason": "not installed"}]
    (folder / "engines").mkdir()
    records, not_built = [], []
    for backend in backends:
        for variant in variants:
            temporary = folder / "engines" / f"{backend}.plan"  # its name says the version, which only the build knows
            try:
                record = build_engine(
                    folder / variant.file,
                    temporary,
                    backend=backend,
                    profile=profile,
                    compute_capabilities=settings.compute_capabilities if backend == "tensorrt_rtx" else None,
                    workspace=settings.workspace,
                    tf32=variant.precision == "tf32",
                    timing_cache=settings.timing_cache,
                    progress=progress,
                )
            except InputError as e:
                if engines:
                    raise
                not_built.append({"runtime": backend, "precision": variant.precision, "reason": str(e)})
                continue
            name = engine_name(record.backend, record.version, record.compute_capabilities, record.precision)
            temporary.rename(temporary.with_name(name))
            records.append(EngineRecord(**{**vars(record), "file": name}))
    if not records:
        (folder / "engines").rmdir()
    return tuple(records), not_built


def _parity(
    folder: Path,
    checkpoint: Checkpoint,
    variants: Sequence[Variant],
    records: tuple[EngineRecord, ...],
    not_built: list[dict[str, str]],
    network_input: np.ndarray,
    reference: np.ndarray,
) -> dict[str, Any]:
    runtime = OnnxRuntime(folder / ONNX)
    found = judge([runtime.run(network_input)], [reference])
    if found.distance.worst_relative > parity.BOUND:
        raise InputError(
            f"ONNX Runtime {runtime.version} is {found.distance.worst_relative:.1e} from the reference, relative to its"
            f" largest logit; allowed is {parity.BOUND:.0e}; no bundle was written"
        )
    entry: dict[str, Any] = {"runtime": "onnxruntime", "version": runtime.version, "precision": "fp32", "file": ONNX}
    entry |= {"provider": runtime.provider, **found.distance.to_dict(), "label_agreement": found.label_agreement}
    results = [entry, *(values for v in variants if (values := v.parity()) is not None)]
    not_run: list[dict[str, str]] = list(not_built)
    for record in records:
        from .tensorrt_runtime import load_engine

        entry = {"runtime": record.backend, "version": record.version, "precision": record.precision}
        entry["file"] = f"engines/{record.file}"
        try:
            engine = load_engine(folder / "engines" / record.file, record, checkpoint.config)
            found = judge([engine.run(network_input)], [reference])
            results.append(entry | found.distance.to_dict() | {"label_agreement": found.label_agreement})
        except InputError as e:
            not_run.append(entry | {"reason": str(e)})
    return {
        "reference": "the network's graph in NumPy, float64",
        "golden": GOLDEN,
        "input_shape": list(network_input.shape),
        "bound": parity.BOUND,
        "results": results,
        "not_run": not_run,
    }


def _write_golden(path: Path, image: np.ndarray, network_input: np.ndarray, reference: np.ndarray) -> None:
    content = io.BytesIO()
    np.savez(content, image=image, input=network_input, logits=reference)
    path.write_bytes(content.getvalue())


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _check_target(path: Path) -> None:
    """Raises InputError where writing would destroy something that is no bundle, or no part of it."""
    if not path.exists():
        return
    if not path.is_dir():
        raise InputError(f"cannot write a bundle to {path}: it is a file")
    present = {p.relative_to(path).as_posix() for p in path.rglob("*") if not p.is_dir()}
    if not present:
        return
    if not is_bundle(path):
        raise InputError(f"cannot write a bundle to {path}: it is not empty, and no bundle that could be replaced")
    known = json.loads((path / MANIFEST).read_text(encoding="utf-8")).get("files")
    foreign = sorted(present - {MANIFEST, *(known if isinstance(known, dict) else {})})
    if foreign:
        raise InputError(f"cannot replace the bundle {path}: {foreign[0]} does not belong to it; move it away first")


@contextmanager
def _replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path`, renamed to it when the block ends well; the old one goes only then."""
    path = path.absolute()
    new, old = (path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}") for _ in range(2))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.mkdir()
        yield new
        if path.exists():
            path.rename(old)
        try:
            new.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    except OSError as e:
        raise InputError(f"cannot write bundle {path}: {e.strerror or e}") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
