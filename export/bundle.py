"""Writing a bundle: the folder that a deployment team receives. `unet_export.manifest` says what is in it."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unet_data.prepare import prepare
from unet_spec import Checkpoint, InputError

from . import parity
from .baked import Step, bake, check_steps
from .bundle_engines import FOLDER as ENGINES
from .bundle_engines import Built, EngineSettings, Source, build_engines
from .bundle_folder import check_target, replacing_folder
from .describe import describe, describe_baked
from .manifest import (
    CARD,
    GOLDEN,
    MANIFEST,
    ONNX,
    PARITY,
    Bundle,
    file_sha256,
    open_bundle,
)
from .model_card import model_card
from .onnx_emitter import emit_onnx, save_onnx
from .onnx_runtime import OnnxRuntime
from .precision import Precision, Recipe
from .precision_search import judge
from .tensorrt_child import Progress
from .triton import FOLDER as TRITON
from .triton import write_repository
from .variants import Variant, choose_variants


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
    baked: of normalize, softmax and argmax, those that a further model of the first precision, and its engines, shall
    contain.
    golden_image: (*spatial, C), of any size; it goes into the bundle. None takes the middle of the last calibration
    image, or a synthetic one. licence: of the weights, as its readers shall see it. extras: further text files by
    name, such as nnunet.json. tell: called with a line per precision. progress: called by the engine builder.

    Raises InputError where `folder` holds anything but a bundle, weights are not finite, the golden image does not
    suit the network, an engine was asked for and cannot be built, ONNX Runtime is further than `parity.BOUND` from
    the reference, or a precision changes more labels than `precision.AGREEMENT` allows.
    """
    path = Path(folder)
    check_target(path)
    config, data = checkpoint.config, checkpoint.data
    settings = settings or EngineSettings()
    steps = check_steps(baked)
    sizes = settings.sizes(config.geometry)
    sizes[1].check(config)
    settings.check(engines, precisions)  # before minutes are spent on finding a precision's recipe
    image = parity.default_golden_image(checkpoint, calibration) if golden_image is None else np.asarray(golden_image)
    network_input = parity.whole_input(config.geometry, prepare(image[None], config, data)[0])
    model = emit_onnx(config, checkpoint.tensors, data)  # refuses weights that are not finite before anything is run
    reference = parity.reference_logits(checkpoint, network_input)
    variants = choose_variants(checkpoint, precisions, calibration, (network_input, reference), tell)

    with replacing_folder(path) as new:
        save_onnx(model, new / ONNX)
        for variant in variants:
            if variant.file != ONNX:
                save_onnx(emit_onnx(config, checkpoint.tensors, data, recipe=variant.recipe), new / variant.file)
        sources = [Source(v.file, v.precision) for v in variants if v.precision in precisions]
        if steps:
            sources.append(_bake(new, checkpoint, variants[0], steps))
        built = build_engines(new, engines, sources, settings, sizes[1], progress)
        _write_golden(new / GOLDEN, image, network_input, reference)
        found = _parity(new, checkpoint, variants, built, network_input, reference)
        _write_json(new / PARITY, found)
        plans = [(record, new / ENGINES / record.file) for record in built.engines]
        write_repository(new / TRITON, config, data, new / ONNX, plans)
        profile = sizes if built.engines or built.baked else None
        baked_entry = describe_baked(checkpoint, sources[-1], steps, built.baked) if steps else None
        manifest = describe(checkpoint, variants, built.engines, profile, baked_entry, licence)
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
        "nnunet.json": "nnU-Net's plans: normalisation, resampling, sliding window, labels. `unet predict` does as they"
        " say. The preparation above and this folder's `triton/` are of the bare network and do none of it: serve the"
        " `triton/` beside the folds, whose model `nnunet` does."
    }
    return f"- `{name}`: {told.get(name, 'comes with the checkpoint.')}\n"


def _bake(folder: Path, checkpoint: Checkpoint, variant: Variant, steps: Sequence[Step]) -> Source:
    """Writes the model with `steps` inside of it."""
    # tf32 is a setting of the engine: the file is float32.
    recipe = Recipe() if variant.precision == "tf32" else variant.recipe
    model = emit_onnx(checkpoint.config, checkpoint.tensors, checkpoint.data, recipe=recipe)
    source = Source(f"model-{variant.precision}-baked.onnx", variant.precision, baked=True)
    save_onnx(bake(model, checkpoint.config, checkpoint.data, steps), folder / source.file)
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
    found = judge([runtime.run(network_input)], [reference])
    if found.distance.worst_relative > parity.BOUND:
        raise InputError(
            f"ONNX Runtime {runtime.version} is {found.distance.worst_relative:.1e} from the reference, relative to its"
            f" largest logit; allowed is {parity.BOUND:.0e}; no bundle was written"
        )
    entry: dict[str, Any] = {"runtime": "onnxruntime", "version": runtime.version, "precision": "fp32", "file": ONNX}
    entry |= {"provider": runtime.provider, **found.distance.to_dict(), "label_agreement": found.label_agreement}
    results = [entry, *(values for v in variants if (values := v.parity()) is not None)]
    not_run = list(built.not_built)
    for record in built.engines:
        from .tensorrt_runtime import load_engine

        entry = {"runtime": record.backend, "version": record.version, "precision": record.precision}
        entry["file"] = f"{ENGINES}/{record.file}"
        try:
            engine = load_engine(folder / ENGINES / record.file, record, checkpoint.config)
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
