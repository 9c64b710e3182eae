"""A model repository for NVIDIA Triton: an ensemble that takes a camera's bytes of any size and gives labels.

triton/
  unet/                    the ensemble: preprocess → network → postprocess
  unet_preprocess/         ONNX Runtime: normalised, mirrored, up to a size that fits
  unet_network/            ONNX Runtime: the network, float32; TensorRT's provider for ONNX Runtime is one line away
  unet_network_tensorrt/   TensorRT: only where the bundle holds an engine of `tensorrt`, which Triton runs (an engine
                           of TensorRT for RTX it does not); then unet_tensorrt/ is the ensemble with it
  unet_postprocess/        ONNX Runtime: cut to the image; labels and probabilities

The configurations are protobuf text after Triton's model_config.proto.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unet_spec import DataSpec, NetworkConfig
from unet_spec.latent import noise_input

from .baked import LABELS, PREPARED, PROBABILITIES, postprocess_model, preprocess_model
from .engine_record import EngineRecord
from .onnx_emitter import IR_VERSION, OPSET, save_onnx
from .onnx_ops import INPUT, OUTPUT

FOLDER = "triton"
_BATCH = 16


def write_repository(
    folder: Path, config: NetworkConfig, data: DataSpec, onnx: Path, engines: Sequence[tuple[EngineRecord, Path]]
) -> None:
    """Writes `folder`. onnx: the float32 model; engines: those of the bundle, with their paths."""
    dims = config.spatial_dims
    image = _tensor(INPUT, "TYPE_UINT8", [*[-1] * dims, config.in_channels])
    prepared = _tensor(PREPARED, "TYPE_FP32", [config.in_channels, *[-1] * dims])
    network_image = _tensor(INPUT, "TYPE_FP32", [config.in_channels, *[-1] * dims])
    logits = _tensor(OUTPUT, "TYPE_FP32", [config.out_channels, *[-1] * dims])
    results = [
        _tensor(LABELS, "TYPE_UINT8", [-1] * dims),
        _tensor(PROBABILITIES, "TYPE_FP32", [*[-1] * dims, config.out_channels]),
    ]
    least = [config.geometry.grid(a).minimum for a in range(dims)]
    save_to = {"unet_preprocess": preprocess_model(config, data, OPSET, IR_VERSION)}
    save_to["unet_postprocess"] = postprocess_model(config, OPSET, IR_VERSION)
    for name, model in save_to.items():
        (folder / name / "1").mkdir(parents=True)
        save_onnx(model, folder / name / "1" / "model.onnx")
    _write(folder, "unet_preprocess", _model("onnxruntime", [image], [prepared]))
    _write(folder, "unet_postprocess", _model("onnxruntime", [logits, image], results))
    warm = {"input_name": INPUT, "dims": [config.in_channels, *least]}
    _write(folder, "unet_network", _model("onnxruntime", [network_image], [logits], warm))
    place(onnx, folder / "unet_network" / "1" / "model.onnx")
    _write(folder, "unet", _ensemble([image], results, "unet_network"))
    served = next(((r, path) for r, path in engines if r.backend == "tensorrt"), None)
    if noise_input(config.graph) is not None:
        served = None  # an engine wants its noise with every request; ONNX Runtime has a default for it
    if served is not None:
        record, path = served
        profile = record.profile
        warm = {"input_name": INPUT, "dims": [config.in_channels, *profile.opt[1:]]}
        body = _model("tensorrt", [network_image], [logits], warm, batch=profile.max[0])
        _write(folder, "unet_network_tensorrt", body)
        place(path, folder / "unet_network_tensorrt" / "1" / "model.plan")
        _write(folder, "unet_tensorrt", _ensemble([image], results, "unet_network_tensorrt", profile.max[0]))


def _model(
    backend: str, inputs: list[dict], outputs: list[dict], warm: dict[str, Any] | None = None, batch: int = _BATCH
) -> list[tuple[str, Any]]:
    body: list[tuple[str, Any]] = [("backend", backend), ("max_batch_size", batch)]
    body += [("input", tensor) for tensor in inputs] + [("output", tensor) for tensor in outputs]
    # Requests of one size that arrive within two milliseconds are computed as one batch.
    body.append(("dynamic_batching", {"max_queue_delay_microseconds": 2000}))
    if warm is not None:
        entry = {"data_type": Word("TYPE_FP32"), "dims": warm["dims"], "zero_data": True}
        warmup = {"name": "zeros", "batch_size": 1, "inputs": {"key": warm["input_name"], "value": entry}}
        body.append(("model_warmup", warmup))
    return body


def _ensemble(inputs: list[dict], outputs: list[dict], network: str, batch: int = _BATCH) -> list[tuple[str, Any]]:
    # The maps read: the model's own name of the tensor → its name in the ensemble.
    steps = [
        _step("unet_preprocess", {INPUT: INPUT}, {PREPARED: PREPARED}),
        _step(network, {INPUT: PREPARED}, {OUTPUT: OUTPUT}),
        _step("unet_postprocess", {OUTPUT: OUTPUT, INPUT: INPUT}, {LABELS: LABELS, PROBABILITIES: PROBABILITIES}),
    ]
    body: list[tuple[str, Any]] = [("platform", "ensemble"), ("max_batch_size", batch)]
    body += [("input", tensor) for tensor in inputs] + [("output", tensor) for tensor in outputs]
    return [*body, ("ensemble_scheduling", {"step": steps})]


def _step(model: str, inputs: dict[str, str], outputs: dict[str, str]) -> dict[str, Any]:
    def pairs(names: dict[str, str]) -> list[dict[str, str]]:
        return [{"key": key, "value": value} for key, value in names.items()]

    return {"model_name": model, "model_version": -1, "input_map": pairs(inputs), "output_map": pairs(outputs)}


def _tensor(name: str, data_type: str, dims: list[int]) -> dict[str, Any]:
    return {"name": name, "data_type": Word(data_type), "dims": dims}


class Word(str):
    """Written without quotation marks: a value of an enumeration."""


def protobuf_text(fields: Sequence[tuple[str, Any]], indent: str = "") -> str:
    """Protobuf's text format of (field, value); a repeated field is given several times, or as a list."""
    lines: list[str] = []
    for key, value in fields:
        if isinstance(value, dict):
            lines += [f"{indent}{key} {{", protobuf_text(list(value.items()), indent + "  "), f"{indent}}}"]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines.append(protobuf_text([(key, item) for item in value], indent))
        else:
            lines.append(f"{indent}{key}: {_scalar(value)}")
    return "\n".join(lines)


def _scalar(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_scalar, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) and not isinstance(value, Word) else str(value)


def _write(folder: Path, name: str, body: list[tuple[str, Any]]) -> None:
    (folder / name / "1").mkdir(parents=True, exist_ok=True)
    (folder / name / "config.pbtxt").write_text(protobuf_text([("name", name), *body]) + "\n", encoding="utf-8")
    if body[0] == ("platform", "ensemble"):
        (folder / name / "1" / "ensemble").write_text("Triton wants a folder per version.\n", encoding="utf-8")


def place(source: str | Path, target: str | Path) -> None:
    """The same bytes under a second name; a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
