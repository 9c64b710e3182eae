"""Profiles: named ones, and invalid ones."""

import pytest

from unet_spec import PRESETS, InputError, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import EngineSettings, Profile, build_engine, emit_onnx, onnx_bytes

from ...fixtures.export_cases import RTX


def test_named_profiles():
    geometry = PRESETS["paper"].geometry
    latency, throughput = (Profile.named(name, geometry) for name in ("latency", "throughput"))
    assert latency == Profile((1, 188, 188), (1, 572, 572), (1, 572, 572))
    assert (throughput.min[0], throughput.max[0]) == (1, 16)
    with pytest.raises(InputError, match="unknown profile 'fast'; allowed: general, latency, throughput"):
        Profile.named("fast", geometry)


@RTX
def test_a_profile_that_no_network_can_meet_is_no_mere_warning(tmp_path, monkeypatch):
    """TensorRT builds an engine for it, and only reports that its minimum size is not self-consistent. Here the check
    that refuses such a profile is off."""
    config = PRESETS["paper"].replace(widths=(4, 8))
    model = onnx_bytes(emit_onnx(config, random_tensors(config.graph, 0)))
    profile = Profile((1, 4, 4), (1, 32, 32), (1, 64, 64))
    with pytest.raises(InputError, match="profile min: input 4x4 does not fit"):
        build_engine(model, tmp_path / "a.plan", EngineSettings(profile))
    monkeypatch.setattr(Profile, "check", lambda self, config: None)
    with pytest.raises(InputError, match="does not fit the network: Profile kMIN values are not self-consistent"):
        build_engine(model, tmp_path / "a.plan", EngineSettings(profile, compute_capabilities=("89",)))
    assert not list(tmp_path.iterdir())
