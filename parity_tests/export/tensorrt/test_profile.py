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


def test_named_profiles_have_their_batches_and_the_papers_tile():
    flat, deep = (PRESETS["paper"].replace(widths=(2, 4), spatial_dims=dims).geometry for dims in (2, 3))
    batches = {"general": (1, 1, 4), "latency": (1, 1, 1), "throughput": (1, 8, 16)}
    for name, (low, best, high) in batches.items():
        found = Profile.named(name, flat)
        assert (found.min[0], found.opt[0], found.max[0]) == (low, best, high)
        assert found.max_hypotheses == (16 if high == 1 else high)
        assert found.opt[1:] == found.max[1:] == (572, 572)
        assert found.min[1:] == (flat.grid().minimum,) * 2
    assert Profile.named("general", deep).max[1:] == (132, 132, 132)


@pytest.mark.parametrize("shape", [(1, 19, 24), (5, 24, 24), (0, 24, 24), (1, 24, 41), (1, 24), (1, 24, 24, 24)])
def test_sizes_beyond_a_profile_are_not_in_it(shape):
    profile = Profile((1, 20, 20), (2, 24, 24), (4, 40, 40))
    assert shape not in profile
    assert all(end in profile for end in (profile.min, profile.opt, profile.max))
    assert Profile.fixed(1, 20, 24) == Profile((1, 20, 24), (1, 20, 24), (1, 20, 24))


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        (((0, 20, 20), (1, 20, 20), (1, 20, 20)), "profile min has batch 0; it must be at least 1"),
        (((1, 20), (1, 20, 20), (1, 20, 20)), r"profile min is \(1, 20\); expected \(batch, height, width\)"),
        (((1, 20, 20), (1, 20, 20.0), (1, 20, 20)), r"profile opt is .* expected \(batch, height, width\)"),
        (((2, 20, 20), (1, 20, 20), (1, 20, 20)), "profile batch is 2, 1, 1; it must be min ≤ opt ≤ max"),
        (((1, 20, 20), (1, 20, 24), (1, 20, 22)), "profile width is 20, 24, 22; it must be"),
        (((1, 20, 20), (1, 20, 20), (1, 20, 21)), "profile max: "),
    ],
)
def test_a_profile_that_does_not_fit_is_refused(ends, message):
    config = PRESETS["paper"].replace(widths=(2, 4))
    Profile((1, 20, 20), (1, 20, 24), (2, 22, 24)).check(config)
    with pytest.raises(InputError, match=message):
        Profile(*ends).check(config)
