"""TensorRT for RTX builds every family in float32 and float16, and noise is an input of the engine.

The results of an engine can only be tested on a GPU.
"""

import importlib

import numpy as np
import onnx
import pytest

from unet_export import (
    EngineRecord,
    EngineSettings,
    PrecisionRecipe,
    Profile,
    available_backends,
    build_engine,
    emit_onnx,
    onnx_bytes,
)
from unet_export.tensorrt.build import noise_shapes
from unet_spec import InputError, random_tensors

from ...fixtures.family_cases import FAMILIES

pytestmark = pytest.mark.skipif("tensorrt_rtx" not in available_backends(), reason="tensorrt_rtx is not installed")


def build(name: str, precision: str, folder) -> EngineRecord:
    config = FAMILIES[name]
    grids = config.geometry.grids
    sizes = [tuple(g.minimum + k * g.step for g in grids) for k in (0, 2, 4)]
    profile = Profile((1, *sizes[0]), (1, *sizes[1]), (2, *sizes[2]))
    model = emit_onnx(config, random_tensors(config.graph, 0, np.float32), recipe=PrecisionRecipe(precision))
    return build_engine(
        onnx_bytes(model),
        folder / "engine.plan",
        EngineSettings(profile, backend="tensorrt_rtx", compute_capabilities=("86",)),
    )


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "probabilistic-unet" else pytest.mark.slow) for name in FAMILIES]
)
@pytest.mark.parametrize("precision", ["fp32", pytest.param("fp16", marks=pytest.mark.slow)])
def test_an_engine_is_built(name, precision, tmp_path):
    record = build(name, precision, tmp_path)
    assert record.precision == precision
    assert (tmp_path / "engine.plan").stat().st_size == record.bytes > 0
    kinds = set(record.layer_types) - {"INT32", "INT64", "BOOL"}
    assert kinds <= ({"FLOAT"} if precision == "fp32" else {"FLOAT", "HALF"})
    assert ("HALF" in kinds) == (precision == "fp16")


def test_noise_is_an_input_of_the_engine_and_has_a_profile(monkeypatch, tmp_path):
    """The model's default must be removed: a builder would use it as a constant, and every sample would be the mean."""
    backend = importlib.import_module("unet_export.tensorrt.build")
    seen = {}

    def stop(job, content, *rest):
        seen.update(job=job, model=onnx.load_model_from_string(content))
        raise InputError("seen")

    monkeypatch.setattr(backend, "run_child", stop)
    with pytest.raises(InputError, match="seen"):
        build("probabilistic-unet", "fp32", tmp_path)
    latent = FAMILIES["probabilistic-unet"].latent
    assert seen["job"].shapes["noise"] == [[1, latent], [1, latent], [2, latent]]
    assert [v.name for v in seen["model"].graph.input] == ["image", "noise"]
    assert "noise" not in {tensor.name for tensor in seen["model"].graph.initializer}


def test_an_engine_for_one_image_takes_many_rows_of_noise():
    config = FAMILIES["probabilistic-unet"]
    model = emit_onnx(config, random_tensors(config.graph, 0, np.float32))
    one, many = Profile.named("latency", config.geometry), Profile.named("throughput", config.geometry)
    assert one.max_hypotheses == 16
    assert [rows for rows, _ in noise_shapes(one, model)["noise"]] == [1, 1, 16]
    assert [rows for rows, _ in noise_shapes(many, model)["noise"]] == [1, 8, 16]
