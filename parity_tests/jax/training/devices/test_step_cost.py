"""The compiler's estimates of a training step; operations for one CPU are not used on other devices."""

import dataclasses

import jax
import pytest

from unet_jax.training.devices import step_cost
from unet_jax.training.devices.mesh import one_device_mesh, platform_of
from unet_jax.training.devices.step_cost import StepCost, collectives_of, compile_step, lower_step
from unet_jax.training.devices.target import Device, Target
from unet_jax.training.settings import TrainSettings
from unet_spec import preset

CONFIG = preset("paper", widths=(4, 8))
SETTINGS = TrainSettings().replace(tile=28, batch=2, elastic=0.0, rotation=0.0, mirror=False)
CPU = Device(2**30, {"float32": 1e9, "bfloat16": 4e9}, 1e10, counts_all_bytes=False)


def target(device=CPU, platform="cpu"):
    return Target("here", "1 x cpu", platform, tuple(jax.devices("cpu")[:1]), device)


@pytest.fixture(scope="module")
def cost():
    return compile_step(CONFIG, SETTINGS, target())


@pytest.mark.slow
def test_operations_are_those_of_the_network_and_its_gradients(cost):
    forward = 2 * 2 * sum(CONFIG.graph.macs((28, 28)).values())
    assert 2.2 * forward < cost.flops < 4.5 * forward  # about three times, plus operations other than products
    assert cost.compute_seconds == cost.flops / 1e9


def test_memory_holds_the_state_and_the_temporaries(cost):
    state = 4 * CONFIG.graph.parameter_count * 3  # weights and the two moments of AdamW
    assert cost.arguments > state
    assert cost.memory == cost.arguments + cost.temporaries + cost.code
    assert cost.fits
    assert cost.memory_seconds == cost.arguments / 1e10  # not all bytes, since many stay in caches
    assert cost.bytes_accessed > cost.arguments


def test_the_minimum_time_is_the_longest_of_its_parts():
    cost = StepCost("", "", 1, (1,), 1, "float32", False, True, memory=1, capacity=1, compile_seconds=0.0)
    cost = dataclasses.replace(cost, compute_seconds=2.0, memory_seconds=3.0, link_seconds=1.0)
    assert (cost.bound_seconds, cost.binds) == (3.0, "memory traffic")
    assert cost.to_dict()["bound_seconds"] == 3.0


def test_a_step_that_is_larger_than_the_device_does_not_fit():
    small = Device(1000, CPU.flops, CPU.bandwidth, counts_all_bytes=True)
    cost = compile_step(CONFIG, SETTINGS, target(small))
    assert not cost.fits
    assert cost.memory_seconds == cost.bytes_accessed / small.bandwidth


@pytest.mark.parametrize(
    "words",
    [
        "Ran out of memory. Used 20.50G of 15.75G hbm.",
        "Ran out of memory on HBM, the total memory required for HLO temporaries (20.50G) exceeds available HBM.",
    ],
)
def test_what_the_compiler_finds_no_room_for_has_only_its_memory(monkeypatch, words):
    class Lowered:
        def compile(self):
            raise jax.errors.JaxRuntimeError(f"RESOURCE_EXHAUSTED: {words}")

    monkeypatch.setattr(step_cost, "lower_step", lambda *_: Lowered())
    cost = compile_step(CONFIG, SETTINGS, target())
    assert (cost.fits, cost.memory, cost.flops) == (False, int(20.5 * 2**30), 0.0)


def test_collectives_are_counted_with_their_results():
    text = """
      %a = (f32[4,2]{1,0}, f32[8,2]{1,0}) all-gather-start(f32[4,2] %x), dimensions={0}
      %b = f32[8,2]{1,0} all-gather-done(%a)
      %c = (f32[3]{0}, bf16[5]{0}) all-reduce(%d, %e), to_apply=%sum
      %f = bf16[2,2]{1,0} collective-permute(%g)
    """
    assert collectives_of(text) == {"all-gather": (1, 64), "all-reduce": (1, 22), "collective-permute": (1, 8)}


def convolutions(text):
    return text.count("stablehlo.convolution")


def test_operations_for_one_cpu_reach_no_other_device():
    """A step for another device has each convolution once, once for the gradient of its kernel and, except for the
    first, once for that of its input. A step for a CPU computes some of them by other algorithms."""
    count = sum(node.op.kind == "conv" for node in CONFIG.graph)
    here = convolutions(lower_step(CONFIG, SETTINGS, target()).as_text())
    tpu = convolutions(lower_step(CONFIG, SETTINGS, target(platform="tpu")).as_text())
    assert tpu == 3 * count - 1
    assert here != tpu


def test_a_mesh_says_what_is_compiled_for():
    class Tpu:
        platform = "tpu"

    assert platform_of(None) == jax.default_backend()
    assert platform_of(one_device_mesh([Tpu()])) == "tpu"
