"""Writes a bundle, the folder for deployment. `unet_export.bundle.manifest` lists its files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_data.inference.prepare import prepare
from unet_spec import Checkpoint, InputError
from unet_spec.files import replacing_folder

from ..onnx.emitter import emit_onnx, save_onnx
from ..onnx.fused import Step, check_steps, fuse
from ..precision.formats import Precision, PrecisionRecipe
from ..precision.variants import Variant, choose_variants
from ..reference import FLOAT32_BOUND, compare, default_golden_image, reference_logits, whole_input
from ..runtimes.onnx_runtime import OnnxRuntime
from ..serving.repository import FOLDER as TRITON
from ..serving.repository import checked_name
from ..serving.triton import NAME, object_step, write_repository
from ..tensorrt.child import Progress
from ..tensorrt.settings import EngineSettings
from .describe import describe, describe_fused
from .engines import FOLDER as ENGINES
from .engines import Built, Source, build_engines
from .folder import check_target
from .golden import Golden
from .manifest import CARD, GOLDEN, MANIFEST, ONNX, PARITY, Bundle, file_sha256, open_bundle
from .model_card import model_card
from .sbom import write_sbom

if TYPE_CHECKING:
    from jaxtyping import Shaped


@dataclass(frozen=True)
class BundleSettings:
    """Settings of a bundle's content.

    Attributes:
        precisions: Precisions in order of preference; float32 is always included.
        engines: True: engines for every installed TensorRT, in every precision. None: engines for TensorRT for RTX, if
            it is installed; parity.json lists those that were not built, with the reason. False: none.
        engine_settings: How engines are built.
        fused_steps: Steps out of "normalize", "softmax" and "argmax" to fuse into an additional model of the first
            precision, and into its engines.
        licence: Licence of the weights, stated in the bundle.
        name: Name of the network in the bundle's model repository for Triton, `triton/`.
        triton_objects: Whether this repository has a step that separates objects. None: if object settings are stored
            with the network, it has a class "border", or it predicts distances.

    Example:
        >>> from unet_export import BundleSettings, EngineSettings
        >>> BundleSettings(("fp16", "fp32"), engine_settings=EngineSettings("latency")).precisions
        ('fp16', 'fp32')
    """

    precisions: Sequence[Precision] = ("fp32",)
    engines: bool | None = None
    engine_settings: EngineSettings = EngineSettings()  # noqa: RUF009  # frozen
    fused_steps: Sequence[Step] = ()
    licence: str | None = None
    name: str = NAME
    triton_objects: bool | None = None


def write_bundle(
    checkpoint: Checkpoint,
    folder: str | os.PathLike[str],
    settings: BundleSettings | None = None,
    *,
    calibration: Sequence[np.ndarray] | None = None,
    golden_image: Shaped[np.ndarray, "*spatial c"] | None = None,
    extras: Mapping[str, str] | None = None,
    report: Callable[[str], None] = lambda line: None,
    progress: Progress | None = None,
) -> Bundle:
    """Writes a bundle, atomically. An existing bundle is replaced.

    Args:
        checkpoint: The network.
        folder: A new or empty folder, or a bundle.
        settings: None: the defaults of `BundleSettings`.
        calibration: Images (*spatial, C), uint8, uint16 or floating, representative of those to segment. int8 and fp8
            need them, and every narrow precision is compared with the reference on them. None: the golden image is used
            for the comparison.
        golden_image: Test image (*spatial, C) of any size, stored in the bundle. None: the centre of the last
            calibration image, or a synthetic image.
        extras: Further text files by name, such as nnunet.json.
        report: Called with a line per narrow precision.
        progress: Called by the engine builder with (phase, step, steps).

    Raises:
        InputError: If `folder` contains anything but a bundle, the name is invalid, objects are requested for
            overlapping classes, stored object settings or the golden image do not fit the network, weights are not
            finite, a requested engine cannot be built, ONNX Runtime differs from the reference by more than
            `reference.FLOAT32_BOUND`, or a precision changes more labels than `precision.formats.AGREEMENT` allows.

    Example:
        >>> from unet_export import BundleSettings, write_bundle
        >>> from unet_spec import Checkpoint, preset, random_tensors
        >>> config = preset("same", widths=(4, 8))
        >>> checkpoint = Checkpoint(config, random_tensors(config.graph, 0))
        >>> write_bundle(checkpoint, "bundle", BundleSettings(engines=False)).precisions
        ('fp32',)
    """
    path, settings = Path(folder), settings or BundleSettings()
    check_target(path)
    checked_name(settings.name)
    config, data = checkpoint.config, checkpoint.data
    objects = object_step(config, data, settings.triton_objects)
    steps = check_steps(settings.fused_steps)
    sizes = settings.engine_settings.sizes(config.geometry)
    sizes[1].check(config)
    # Checked first, since the search for a precision's recipe takes minutes.
    settings.engine_settings.check(settings.engines, settings.precisions)
    image = default_golden_image(checkpoint, calibration) if golden_image is None else np.asarray(golden_image)
    network_input = whole_input(config.geometry, prepare(image[None], config, data)[0])
    model = emit_onnx(config, checkpoint.tensors, data)  # raises InputError early if weights are not finite
    golden = (network_input, reference_logits(checkpoint, network_input))
    variants = choose_variants(checkpoint, settings.precisions, calibration, golden, report)

    with replacing_folder(path, check_target) as new:
        save_onnx(model, new / ONNX)
        for variant in variants:
            if variant.file != ONNX:
                save_onnx(emit_onnx(config, checkpoint.tensors, data, recipe=variant.recipe), new / variant.file)
        sources = [Source(v.file, v.precision) for v in variants if v.precision in settings.precisions]
        if steps:
            sources.append(_write_fused(new, checkpoint, variants[0], steps))
        built = build_engines(new, settings.engines, sources, settings.engine_settings, progress)
        Golden(image, *golden).save(new)
        parity = _parity(new, checkpoint, variants, built, *golden)
        _write_json(new / PARITY, parity)
        plans = [(record, new / ENGINES / record.file) for record in built.engines]
        write_repository(new / TRITON, config, data, new / ONNX, plans, settings.name, objects is not None)
        profile = sizes if built.engines or built.fused else None
        fused = describe_fused(checkpoint, sources[-1], steps, built.fused) if steps else None
        manifest = describe(checkpoint, variants, built.engines, profile, fused, settings.licence)
        for name, text in (extras or {}).items():
            (new / name).write_text(text, encoding="utf-8")
        card = model_card(manifest, parity, tuple(extras or ()), objects is not None)
        (new / CARD).write_text(card, encoding="utf-8")
        files = sorted(p for p in new.rglob("*") if p.is_file())
        files = sorted([*files, write_sbom(new, manifest, files)])
        manifest["files"] = {
            p.relative_to(new).as_posix(): {"sha256": file_sha256(p), "bytes": p.stat().st_size} for p in files
        }
        _write_json(new / MANIFEST, manifest)
        open_bundle(new)  # tests that the written bundle can be read
    return open_bundle(path)


def _write_fused(folder: Path, checkpoint: Checkpoint, variant: Variant, steps: Sequence[Step]) -> Source:
    """Writes the model with `steps` fused into it."""
    # tf32 is a setting of the engine; the file is float32.
    recipe = PrecisionRecipe() if variant.precision == "tf32" else variant.recipe
    model = emit_onnx(checkpoint.config, checkpoint.tensors, checkpoint.data, recipe=recipe)
    source = Source(f"model-{variant.precision}-baked.onnx", variant.precision, fused=True)
    save_onnx(fuse(model, checkpoint.config, checkpoint.data, steps), folder / source.file)
    return source


def _parity(
    folder: Path,
    checkpoint: Checkpoint,
    variants: Sequence[Variant],
    built: Built,
    network_input: np.ndarray,
    reference: np.ndarray,
) -> dict[str, Any]:
    runtime = OnnxRuntime(folder / ONNX)
    comparison = compare([runtime.run(network_input)], [reference], checkpoint.config.out_channels)
    if comparison.distance.worst_relative > FLOAT32_BOUND:
        raise InputError(
            f"the error of ONNX Runtime {runtime.version} is {comparison.distance.worst_relative:.1e} of the "
            f"reference's largest logit; the bound is {FLOAT32_BOUND:.0e}; no bundle was written"
        )
    entry: dict[str, Any] = {"runtime": "onnxruntime", "version": runtime.version, "precision": "fp32", "file": ONNX}
    entry |= {"provider": runtime.provider, **comparison.to_dict()}
    results = [entry, *(values for v in variants if (values := v.parity()) is not None)]
    not_run = list(built.not_built)
    for record in built.engines:
        from ..tensorrt.runtime import load_engine

        entry = {"runtime": record.backend, "version": record.version, "precision": record.precision}
        entry["file"] = f"{ENGINES}/{record.file}"
        try:
            engine = load_engine(folder / ENGINES / record.file, record, checkpoint.config)
            comparison = compare([engine.run(network_input)], [reference], checkpoint.config.out_channels)
            results.append(entry | comparison.to_dict())
        except InputError as e:
            not_run.append(entry | {"reason": str(e)})
    return {
        "reference": "the network's graph in NumPy, float64",
        "golden": GOLDEN,
        "input_shape": list(network_input.shape),
        "bound": FLOAT32_BOUND,
        "results": results,
        "not_run": not_run,
    }


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n", encoding="utf-8")
