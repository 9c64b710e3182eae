"""What the battery (`parity_tests.battery`) does not ask of the other architectures: fresh weights, what a file for
deployment holds, pruning, refusals, sizes, fixed interpolation."""

import numpy as np
import pytest
import torch
from flax import nnx

import unet_jax
import unet_torch
from parity_tests.family_cases import FAMILIES
from unet_export import OnnxRuntime, emit_onnx, onnx_bytes, read_onnx
from unet_jax.runtime import JaxRuntime
from unet_jax.weights import tensors as jax_tensors
from unet_spec import Checkpoint, InputError, initial_tensors, random_tensors
from unet_torch.runtime import TorchRuntime

EXACT = 1e-12
SINGLE = 1e-5


def image(config, seed=1, batch=3):
    """(N, *spatial, C) float64, another size on each axis, with a mean."""
    size = [grid.minimum + (1 + axis) * grid.step for axis, grid in enumerate(config.geometry.grids)]
    return np.random.default_rng(seed).normal(1, 1, (batch, *size, config.in_channels)).astype(np.float32).astype(float)


def relative(found, reference):
    assert found.shape == reference.shape
    return np.abs(found - reference).max() / np.abs(reference).max()


def twins(config, seed=0):
    checkpoint = Checkpoint(config, random_tensors(config.graph, seed, np.float64))
    return unet_jax.from_checkpoint(checkpoint), unet_torch.from_checkpoint(checkpoint), checkpoint.tensors


def to_torch(array):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 1)))


def from_torch(tensor):
    return np.moveaxis(tensor.detach().numpy(), 1, -1)


@pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)
def test_the_onnx_file_passes_the_full_checker_and_names_its_network(config):
    content = onnx_bytes(emit_onnx(config, random_tensors(config.graph, 3)))
    read_onnx(content)  # the full checker, and exactly one input that must be given
    assert OnnxRuntime(content).config == config


@pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)
def test_a_new_network_is_the_same_in_both(config):
    initial = initial_tensors(config.graph, 5, np.float32)
    flax, pytorch = unet_jax.create(config, 5), unet_torch.create(config, 5)
    state = pytorch.state_dict()
    for name, tensor in jax_tensors(flax).items():
        assert np.array_equal(tensor, initial[name])
        assert np.array_equal(state[name].numpy(), initial[name])
    counted = sum(p.numel() for p in pytorch.parameters())
    assert counted == config.graph.parameter_count
    trained = {name for name, p in pytorch.named_parameters() if p.requires_grad}
    assert trained == {name for name, p in config.graph.params.items() if p.role == "parameter"}


def test_what_only_training_needs_is_not_exported():
    config = FAMILIES["unet++-deep"]
    names = {node.name for node in emit_onnx(config, random_tensors(config.graph, 0)).graph.node}
    assert not any(name.startswith(("heads.0", "heads.1")) for name in names)
    config = FAMILIES["probabilistic-unet"]
    names = {node.name for node in emit_onnx(config, random_tensors(config.graph, 0)).graph.node}
    assert not any(name.startswith("posterior") for name in names)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_pruned_unetpp_gives_what_that_column_gave(level):
    config = FAMILIES["unet++-deep"]
    tensors = random_tensors(config.graph, 0, np.float64)
    pruned = config.pruned(level)
    own = config.pruned_tensors(tensors, level)
    x = image(config)
    wanted = config.graph.activations(tensors, x)[f"heads.{level - 1}"]
    assert np.array_equal(pruned.graph.forward(own, x), wanted)
    assert relative(JaxRuntime(unet_jax.from_checkpoint(Checkpoint(pruned, own))).run(x), wanted) < EXACT


def test_only_a_supervised_unetpp_can_be_pruned():
    with pytest.raises(InputError, match="cannot prune to level 4: that takes deep_supervision and a level in 1 … 3"):
        FAMILIES["unet++-deep"].pruned(4)
    with pytest.raises(InputError, match="cannot prune"):
        FAMILIES["unet++"].pruned(1)


def test_an_input_that_is_missing_or_wrong_is_told():
    config = FAMILIES["probabilistic-unet"]
    tensors, x = random_tensors(config.graph, 0, np.float64), image(config)
    with pytest.raises(InputError, match=r"posterior.head cannot be computed without the input segmentation"):
        config.graph.activations(tensors, x, keep=("posterior.head",))
    with pytest.raises(InputError, match=r"the input 'noise' has shape \(3, 4\); expected \(3, 1, 1, 3\)"):
        config.graph.forward(tensors, x, inputs={"noise": np.zeros((3, 4))})
    with pytest.raises(InputError, match="the network has no input 'nose'; it has input, noise, segmentation"):
        config.graph.forward(tensors, x, inputs={"nose": np.zeros((3, 4))})


def test_fcn_takes_any_size():
    size = (7, 12)
    config = FAMILIES["fcn-8s"]
    flax, pytorch, tensors = twins(config)
    x = np.random.default_rng(7).normal(size=(1, *size, config.in_channels))
    reference = config.graph.forward(tensors, x)
    assert reference.shape == (1, *size, config.out_channels)
    assert relative(JaxRuntime(flax).run(x), reference) < EXACT
    assert relative(TorchRuntime(pytorch).run(x), reference) < EXACT


def test_fixed_upsampling_interpolates_and_is_not_trained():
    config = FAMILIES["fcn-8s"]
    tensors = initial_tensors(config.graph, 0, np.float64)
    op = config.graph["upscore2"].op
    ramp = np.arange(6.0)[None, :, None, None] * np.ones((1, 1, 6, config.out_channels))
    out = op.compute({"weight": tensors["upscore2.weight"]}, ramp)[0, :, 6, 0]
    np.testing.assert_allclose(np.diff(out[3:-3]), 0.5)  # away from the edges a ramp stays a ramp, at half the slope
    flax = unet_jax.create(config)
    names = {".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(flax, nnx.Param))}
    assert not any(name.startswith("up") for name in names)
    learned = {
        ".".join(map(str, path))
        for path, _ in nnx.to_flat_state(nnx.state(unet_jax.create(FAMILIES["fcn-8s-learned"]), nnx.Param))
    }
    assert {"upscore2.kernel", "upscore8.kernel"} <= learned
