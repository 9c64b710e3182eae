"""Target devices of a step."""

from types import SimpleNamespace

import jax
import numpy as np
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


@pytest.mark.parametrize(
    ("name", "memory", "flops", "bandwidth", "links"),
    [("v4", 32, 275e12, 1200e9, 300e9), ("v5e", 16, 197e12, 819e9, 200e9), ("v5p", 95, 459e12, 2765e9, 600e9),
     ("v6e", 32, 918e12, 1600e9, 400e9)],
)  # fmt: skip
def test_the_peaks_of_each_chip(name, memory, flops, bandwidth, links):
    chip = CHIPS[name]
    assert (chip.memory, chip.bandwidth, chip.links) == (memory * 2**30, bandwidth, links)
    assert chip.flops == {"float32": flops, "bfloat16": flops}
    assert chip.counts_all_bytes


@pytest.mark.parametrize(
    ("name", "topology", "options", "count"),
    [
        ("tpu-v5e:1x1", "v5e:1x1", {"chips_per_host_bounds": [1, 1, 1]}, 1),
        ("tpu-v5e:2x2", "v5e:2x2", {"chips_per_host_bounds": [2, 2, 1]}, 4),
        ("tpu-v6e:2x4", "v6e:2x4", {}, 8),
        ("tpu-v5p:2x2", "v5p:2x2x1", {"chips_per_host_bounds": [2, 2, 1]}, 4),
        ("tpu-v5p:2x2x2", "v5p:2x2x2", {}, 8),
    ],
)
def test_a_topology_by_its_name(monkeypatch, name, topology, options, count):
    asked = []

    class Topology:
        def __init__(self, platform, topology_name, **given):
            asked.append((platform, topology_name, given, {k: target.os.environ[k] for k in target._COMPILE_ONLY}))
            self.devices = [object()] * count

    for variable in target._COMPILE_ONLY:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TPU_LIBRARY_PATH", "/somewhere")
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "own")
    monkeypatch.setattr("jax.experimental.topologies.get_topology_desc", Topology)
    found = find_target(name)
    assert asked == [("tpu", topology, options, target._COMPILE_ONLY | {"TPU_WORKER_HOSTNAMES": "own"})]
    for variable in target._COMPILE_ONLY:
        monkeypatch.delenv(variable)
    assert (found.name, found.platform, len(found.devices)) == (name, "tpu", count)
    chip = CHIPS[name[4:7].rstrip(":")]
    assert found.device.links == (chip.links if count > 1 else None)
    assert found.device.flops == chip.flops


def test_a_topology_that_libtpu_does_not_know_is_one_line(monkeypatch):
    def unknown(**_):
        raise RuntimeError("no such shape\nbacktrace")

    monkeypatch.setenv("TPU_LIBRARY_PATH", "/somewhere")
    for variable in target._COMPILE_ONLY:
        monkeypatch.setenv(variable, "kept")
    monkeypatch.setattr("jax.experimental.topologies.get_topology_desc", unknown)
    with pytest.raises(InputError) as caught:
        find_target("tpu-v5e:9x9")
    assert str(caught.value) == "tpu-v5e:9x9: libtpu does not know this topology (no such shape)"


def test_the_speed_of_this_machine_is_that_of_a_product_and_of_a_sum(monkeypatch):
    asked = []
    monkeypatch.setattr(target, "_best_seconds", lambda work, x: asked.append((x.shape, str(x.dtype))) or 0.5)
    monkeypatch.setattr(target.jnp, "ones", np.ones)
    for platform, size in (("cpu", 1536), ("gpu", 64)):
        monkeypatch.setattr(jax, "default_backend", lambda platform=platform: platform)
        if platform == "gpu":
            monkeypatch.setattr(
                target.jnp, "ones", lambda shape, dtype: asked.append(shape) or np.ones((64, 64), dtype)
            )
        flops = target._measured_flops("float32")
        assert flops == 2 * (1536 if platform == "cpu" else 8192) ** 3 / 0.5
        assert asked[-1] == ((size, size), "float32")
    assert (8192, 8192) in asked
    monkeypatch.setattr(target.jnp, "ones", lambda size, dtype: SimpleNamespace(shape=size, dtype="x", nbytes=4 * size))
    assert target._measured_bandwidth() == 2 * 4 * 2**26 / 0.5


def test_the_best_of_five_runs_counts_after_one_to_warm_up(monkeypatch):
    runs, clock = [], iter([0.0, 3.0, 10.0, 11.0, 20.0, 20.5, 30.0, 32.0, 40.0, 44.0])
    monkeypatch.setattr(jax, "jit", lambda work: work)
    monkeypatch.setattr(target.time, "perf_counter", lambda: next(clock))
    assert target._best_seconds(lambda x: runs.append(x) or x, 7) == 0.5
    assert runs == [7] * 6


def test_a_gpu_says_how_much_memory_it_has(monkeypatch):
    gpu = SimpleNamespace(platform="gpu", device_kind="H", memory_stats=lambda: {"bytes_limit": 99})
    monkeypatch.setattr(jax, "devices", lambda: [gpu, gpu])
    monkeypatch.setattr(target, "_measured_flops", lambda precision: 1.0)
    monkeypatch.setattr(target, "_measured_bandwidth", lambda: 2.0)
    found = find_target("here")
    assert (found.kind, found.device.memory, found.device.counts_all_bytes) == ("2 x H", 99, True)
    assert found.device.links is None
    silent = SimpleNamespace(platform="gpu", device_kind="H", memory_stats=lambda: None)
    monkeypatch.setattr(jax, "devices", lambda: [silent])
    monkeypatch.setattr(target, "available", lambda: 77)
    assert find_target("here").device.memory == 77
