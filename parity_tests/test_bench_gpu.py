"""The unattended run for a GPU, at a small size on whatever device there is."""

import json

import pytest

pytest.importorskip("jax", reason="jax is not installed; pip install 'unet-twins[jax]'")
pytest.importorskip("torch", reason="torch is not installed; pip install 'unet-twins[torch]'")

from unet_tools.bench_gpu import Args, main


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
