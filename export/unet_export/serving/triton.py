"""Writes a model repository for NVIDIA Triton: an ensemble that computes labels from uint8 images of any size.

triton/
  unet/                    the ensemble: preprocess → network → postprocess; `unet` is the network's name here and below
  unet_preprocess/         ONNX Runtime: normalised, mirrored, up to a size that fits
  unet_network/            ONNX Runtime: the network, float32; the TensorRT provider is one line of its configuration
  unet_network_tensorrt/   TensorRT: only if the bundle has an engine of `tensorrt` (Triton does not run engines of
                           TensorRT for RTX); then unet_tensorrt/ is the ensemble with it
  unet_postprocess/        ONNX Runtime: cropped to the image; labels and probabilities
  unet_objects/            Python backend: objects; only if the network was trained to separate them, or on request
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unet_data.objects.settings import is_for_objects
from unet_spec import DataSpec, InputError, NetworkConfig
from unet_spec.ops import noise_input

from ..onnx.emitter import IR_VERSION, OPSET, save_onnx
from ..onnx.fused import LABELS, PREPARED, PROBABILITIES, label_channels, postprocess_model, preprocess_model
from ..onnx.ops import INPUT, OUTPUT
from ..tensorrt.engine_record import EngineRecord
from .objects import CLASSES, OBJECTS, ObjectStep
from .repository import Word, checked_name, place, tensor, write_model

NAME = "unet"
_BATCH = 16

_MODEL = '''"""Separates and numbers objects; `pip install unet-twins` into the server's Python."""

from pathlib import Path

try:
    from unet_export.serving.objects import TritonModel
except ImportError as e:
    raise ImportError(
        f"{Path(__file__).parent}: {e}; pip install unet-twins into the server's Python, or export with "
        "--triton-objects False"
    ) from None


class TritonPythonModel(TritonModel):
    folder = Path(__file__).parent
'''


def model_names(name: str) -> list[str]:
    """Names of all models that a network of this name may have in a repository."""
    parts = ("preprocess", "network", "postprocess", "objects", "tensorrt", "network_tensorrt")
    return [name, *(f"{name}_{part}" for part in parts)]


def write_repository(
    folder: Path,
    config: NetworkConfig,
    data: DataSpec,
    onnx: Path,
    engines: Sequence[tuple[EngineRecord, Path]],
    name: str = NAME,
    objects: bool | None = None,
) -> None:
    """Writes a model repository.

    Args:
        folder: the folder to write.
        config, data: the network.
        onnx: the float32 model.
        engines: the bundle's engines with their paths.
        name: name of the ensemble, and prefix of its parts' names.
        objects: whether the ensemble also separates objects. None: if the network was trained for it.

    Raises:
        InputError: the name is invalid, or objects are requested but the classes overlap or the stored object settings
            do not fit the network.
    """
    checked_name(name)
    step = object_step(config, data, objects)
    dims = config.spatial_dims
    free = [-1] * dims
    image = tensor(INPUT, "TYPE_UINT8", [*free, config.in_channels])
    prepared = tensor(PREPARED, "TYPE_FP32", [config.in_channels, *free])
    logits = tensor(OUTPUT, "TYPE_FP32", [config.output_channels, *free])
    labels = tensor(LABELS, "TYPE_UINT8", [*free, *label_channels(config, data)])
    results = [labels, tensor(PROBABILITIES, "TYPE_FP32", [*free, data.class_count(config)])]
    network = [{**prepared, "name": INPUT}]

    version = write_model(folder, f"{name}_preprocess", _model("onnxruntime", [image], [prepared]))
    save_onnx(preprocess_model(config, data, OPSET, IR_VERSION), version / "model.onnx")
    version = write_model(folder, f"{name}_postprocess", _model("onnxruntime", [logits, image], results))
    save_onnx(postprocess_model(config, data, OPSET, IR_VERSION), version / "model.onnx")
    smallest = [config.in_channels, *(config.geometry.grid(a).minimum for a in range(dims))]
    version = write_model(folder, f"{name}_network", _model("onnxruntime", network, [logits], smallest))
    place(onnx, version / "model.onnx")
    if step is not None:
        found = [tensor(OBJECTS, "TYPE_UINT32", free), tensor(CLASSES, "TYPE_INT64", [-1])]
        _write_object_step(folder, f"{name}_objects", step, [logits, image], found)
        results += found
    _write_ensemble(folder, name, name, f"{name}_network", [image], results)

    served = next(((r, path) for r, path in engines if r.backend == "tensorrt"), None)
    # An engine needs the noise in every request; in ONNX Runtime it has a default.
    if served is None or noise_input(config.graph) is not None:
        return
    record, path = served
    usual, batch = [config.in_channels, *record.profile.opt[1:]], record.profile.max[0]
    body = _model("tensorrt", network, [logits], usual, batch)
    place(path, write_model(folder, f"{name}_network_tensorrt", body) / "model.plan")
    _write_ensemble(folder, name, f"{name}_tensorrt", f"{name}_network_tensorrt", [image], results, batch)


def object_step(config: NetworkConfig, data: DataSpec, asked: bool | None = None) -> ObjectStep | None:
    """The step that separates objects. asked: None: if the network was trained to separate them.

    Raises InputError if the classes overlap, or the stored object settings do not fit the network.
    """
    if not (is_for_objects(data, config) if asked is None else asked):
        return None
    try:
        return ObjectStep.of_network(config, data)
    except InputError as e:
        raise InputError(f"no objects for Triton: {e}; or leave them out (triton_objects False)") from None


def _write_object_step(folder: Path, name: str, step: ObjectStep, inputs: list[dict], outputs: list[dict]) -> None:
    body: dict[str, Any] = {"backend": "python", "max_batch_size": _BATCH, "input": inputs, "output": outputs}
    # Each instance is a process: more of them separate the objects of several requests at once.
    body["instance_group"] = {"kind": Word("KIND_CPU"), "count": 1}
    version = write_model(folder, name, body)
    (version / "model.py").write_text(_MODEL, encoding="utf-8")
    step.save(version)


def _model(
    backend: str, inputs: list[dict], outputs: list[dict], warm: list[int] | None = None, batch: int = _BATCH
) -> dict[str, Any]:
    """A model's configuration. warm: shape of the warm-up image before the first request."""
    body: dict[str, Any] = {"backend": backend, "max_batch_size": batch, "input": inputs, "output": outputs}
    # Requests of the same size that arrive within two milliseconds form one batch.
    body["dynamic_batching"] = {"max_queue_delay_microseconds": 2000}
    if warm is not None:
        entry = {"data_type": Word("TYPE_FP32"), "dims": warm, "zero_data": True}
        body["model_warmup"] = {"name": "zeros", "batch_size": 1, "inputs": {"key": INPUT, "value": entry}}
    return body


def _write_ensemble(
    folder: Path, name: str, own: str, network: str, inputs: list[dict], outputs: list[dict], batch: int = _BATCH
) -> None:
    # own: name of the ensemble; name: prefix of its steps' names. The maps are from a tensor's name in the model to its
    # name in the ensemble.
    steps = [
        _step(f"{name}_preprocess", {INPUT: INPUT}, {PREPARED: PREPARED}),
        _step(network, {INPUT: PREPARED}, {OUTPUT: OUTPUT}),
        _step(f"{name}_postprocess", {OUTPUT: OUTPUT, INPUT: INPUT}, {LABELS: LABELS, PROBABILITIES: PROBABILITIES}),
    ]
    if any(output["name"] == OBJECTS for output in outputs):
        steps.append(_step(f"{name}_objects", {OUTPUT: OUTPUT, INPUT: INPUT}, {OBJECTS: OBJECTS, CLASSES: CLASSES}))
    body = {"platform": "ensemble", "max_batch_size": batch, "input": inputs, "output": outputs}
    version = write_model(folder, own, {**body, "ensemble_scheduling": {"step": steps}})
    (version / "ensemble").write_text("Triton needs a folder per version.\n", encoding="utf-8")


def _step(model: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> dict[str, Any]:
    def pairs(names: Mapping[str, str]) -> list[dict[str, str]]:
        return [{"key": key, "value": value} for key, value in names.items()]

    return {"model_name": model, "model_version": -1, "input_map": pairs(inputs), "output_map": pairs(outputs)}
