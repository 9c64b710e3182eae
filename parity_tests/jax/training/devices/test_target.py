"""Target devices of a step."""

import jax
import pytest

from unet_jax.training.devices import target
from unet_jax.training.devices.target import CHIPS, find_target
from unet_spec import InputError


def test_this_machine_is_measured(monkeypatch):
    monkeypatch.setattr(target, "_measured_flops", {"float32": 3e9, "bfloat16": 2e9}.get)
    monkeypatch.setattr(target, "_measured_bandwidth", lambda: 5e9)
    monkeypatch.setattr(target, "available", lambda: 12345)
    here = find_target("here")
    assert here.devices == tuple(jax.devices())
    assert here.device.flops == {"float32": 3e9, "bfloat16": 2e9}
    assert (here.device.bandwidth, here.platform) == (5e9, jax.default_backend())
    if here.platform == "cpu":
        assert (here.device.memory, here.device.counts_all_bytes) == (12345, False)


def test_measured_peaks_are_positive():
    assert target._measured_flops("float32") > 1e8
    assert target._best_seconds(lambda x: x + 1, 1.0) > 0


def test_peaks_of_a_chip_are_in_bytes_and_operations_a_second():
    chip = CHIPS["v5e"]
    assert (chip.memory, chip.flops["bfloat16"]) == (16 * 2**30, 197e12)
    assert (chip.bandwidth, chip.links) == (819e9, 200e9)


@pytest.mark.parametrize("devices", [4, 8])
def test_cores_of_a_chip_share_its_peaks(monkeypatch, devices):
    class Topology:
        def __init__(self, platform, topology_name, **options):
            assert (platform, topology_name) == ("tpu", "v4:2x2x1")
            assert options == {"chips_per_host_bounds": [2, 2, 1]}
            self.devices = [object()] * devices

    monkeypatch.setenv("TPU_LIBRARY_PATH", "/somewhere")
    monkeypatch.setattr("jax.experimental.topologies.get_topology_desc", Topology)
    found = find_target("tpu-v4:2x2")
    assert found.kind == f"{devices} x TPU v4"
    assert found.device.memory == CHIPS["v4"].memory * 4 // devices
    assert found.device.bandwidth == CHIPS["v4"].bandwidth * 4 / devices


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpu", r"unknown device 'gpu'; give here, or a TPU such as tpu-v5e:2x4"),
        ("tpu-v5e", "unknown device"),
        ("tpu-v5:2x2", r"unknown TPU 'v5'.*; known: v4, v5e, v5p, v6e"),
        ("tpu-v5e:2x2", r"needs the compiler for TPUs: pip install 'unet-twins\[tpu\]'"),
    ],
)
def test_what_cannot_be_compiled_for_is_one_line(name, words, monkeypatch):
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    monkeypatch.setattr(target, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=words):
        find_target(name)
