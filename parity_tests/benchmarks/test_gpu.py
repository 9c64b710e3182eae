"""The unattended run for a GPU, at a small size on whatever device there is."""

import json

import numpy as np
import pytest

pytest.importorskip("jax", reason="jax is not installed; pip install 'unet-twins[jax]'")
pytest.importorskip("torch", reason="torch is not installed; pip install 'unet-twins[torch]'")

from benchmarks.gpu import Args, engines, main
from unet_spec import PRESETS, InputError, random_tensors


@pytest.mark.slow
def test_every_section_has_its_lines(tmp_path):
    assert main(Args(quick=True, out=tmp_path / "gpu.json")) == 0
    found = json.loads((tmp_path / "gpu.json").read_text())
    modes = {(row["runtime"], row["mode"]): row["worst_relative"] for row in found["parity"]}
    for runtime in ("torch", "jax"):
        assert modes[runtime, "float32"] < 1e-5
        assert 1e-4 < modes[runtime, "bfloat16"] < 0.1  # else it was not computed in bfloat16
    assert {row["runtime"] for row in found["inference"]} >= {"torch float32", "jax bfloat16"}
    assert {row["runtime"] for row in found["training"]} >= {"jax", "torch eager"}
    assert all("note" in row or row["worst_relative"] < 0.05 for row in found["engines"])
    assert found["engines"]


@pytest.mark.parametrize(("capability", "asked"), [("89", ("89",)), ("90", None)])
def test_engines_are_asked_for_as_each_gpu_can_have_them(capability, asked, monkeypatch):
    """A Hopper is none of TensorRT for RTX's: naming it would refuse TensorRT's own engine, too."""
    from unet_export.tensorrt.cuda_device import Device

    def write(checkpoint, folder, settings):
        settings.engine_settings.check(settings.engines, settings.precisions)
        assert settings.engine_settings.compute_capabilities == asked
        raise InputError("no further")

    monkeypatch.setattr("unet_export.tensorrt.cuda_device.find_device", lambda: Device("Some GPU", capability))
    monkeypatch.setattr("unet_export.write_bundle", write)
    config = PRESETS["paper"].replace(widths=(2, 4))
    rows = list(engines(config, random_tensors(config.graph, 0), np.zeros((1, 20, 20, 1), np.float32), Args()))
    assert [row["precision"] for row in rows] == ["fp32", "tf32", "fp16", "bf16", "fp32"]
    assert {row["note"] for row in rows} == {"no further"}
