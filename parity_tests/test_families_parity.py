"""NumPy, Flax, PyTorch and ONNX Runtime on the other architectures: one network, four times."""

import dataclasses

import jax
import jax.numpy as jnp
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
from unet_jax.weights import variables
from unet_spec import FAMILY_PRESETS, Checkpoint, InputError, initial_tensors, random_tensors
from unet_spec.ops import BatchNorm
from unet_spec.weight_map import entries
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
def test_forward(config):
    flax, pytorch, tensors = twins(config)
    x = image(config)
    reference = config.graph.forward(tensors, x)
    assert reference.shape == (*x.shape[:-1], config.out_channels)
    assert relative(JaxRuntime(flax).run(x), reference) < EXACT
    assert relative(TorchRuntime(pytorch).run(x), reference) < EXACT


@pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)
def test_onnx(config):
    tensors = random_tensors(config.graph, 3)
    x = image(config)
    reference = config.graph.forward({name: t.astype(np.float64) for name, t in tensors.items()}, x)
    content = onnx_bytes(emit_onnx(config, tensors))
    read_onnx(content)  # the full checker, and exactly one input that must be given
    runtime = OnnxRuntime(content)
    assert runtime.config == config
    assert relative(runtime.run(x.astype(np.float32)), reference) < SINGLE


@pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)
def test_every_tensor_is_mapped_and_comes_back(config, tmp_path):
    flax, pytorch, tensors = twins(config)
    wanted = {entry.flax: entry.flax_shape for entry in entries(config.graph)}
    assert {path: variable.shape for path, variable in variables(flax).items()} == wanted
    flax.save_pretrained(tmp_path / "a")
    again = unet_torch.from_pretrained(tmp_path / "a")
    assert type(again) is type(pytorch)
    again.save_pretrained(tmp_path / "b")
    back = jax_tensors(unet_jax.from_pretrained(tmp_path / "b"))
    assert {name: t.tobytes() for name, t in back.items()} == {name: t.tobytes() for name, t in tensors.items()}


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


def without_dropout(config):
    fields = {field.name for field in dataclasses.fields(config)}
    changes = {"dropout": 0.0, "keep": 1.0}
    return config.replace(**{name: value for name, value in changes.items() if name in fields})


def _marked(name):  # compiling a gradient takes most of a minute here; one network of each family is enough by default
    return pytest.param(FAMILIES[name], id=name, marks=[] if name in FAMILY_PRESETS else [pytest.mark.slow])


@pytest.mark.parametrize("config", [_marked(name) for name in FAMILIES])
def test_gradients_and_statistics_of_a_training_step(config):
    """Of sum(logits · noise), so that no gradient vanishes by symmetry; per tensor, and the batch norms' statistics."""
    config = without_dropout(config)
    flax, pytorch, tensors = twins(config)
    x = image(config)
    weights = np.random.default_rng(2).normal(size=(*x.shape[:-1], config.out_channels))
    flax.train()
    pytorch.train()
    graphdef, params, stats = nnx.split(flax, nnx.Param, nnx.BatchStat)

    def loss(params, stats):
        model = nnx.merge(graphdef, params, stats, copy=True)
        return (model(jnp.asarray(x)) * weights).sum(), nnx.state(model, nnx.BatchStat)

    (value, after), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params, stats)
    total = (pytorch(to_torch(x)) * to_torch(weights)).sum()
    total.backward()
    reference = (config.graph.forward(tensors, x, training=True) * weights).sum()
    assert abs(float(value) - reference) < EXACT * np.abs(weights).sum()
    assert abs(total.item() - reference) < EXACT * np.abs(weights).sum()

    of_jax = {tuple(map(str, path)): np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(grads)}
    by_name = {entry.pytorch: entry for entry in entries(config.graph)}
    largest = max(p.grad.abs().max().item() for p in pytorch.parameters() if p.grad is not None)
    for name, parameter in pytorch.named_parameters():
        if not parameter.requires_grad:
            continue
        entry = by_name[name]
        order = [entry.pytorch_axes.split().index(letter) for letter in entry.flax_axes.split()]
        mine = np.zeros(parameter.shape) if parameter.grad is None else parameter.grad.numpy()
        # A bias before a norm has no gradient but for rounding, so the scale is that of the whole network.
        assert np.abs(of_jax[entry.flax] - mine.transpose(order)).max() < EXACT * largest, name

    nnx.update(flax, after)
    state, now = pytorch.state_dict(), jax_tensors(flax)
    steps = config.graph.activations(tensors, x, training=True)
    for node in config.graph:
        if isinstance(node.op, BatchNorm):
            own = {key: tensors[f"{node.name}.{key}"] for key in node.op.parameters()}
            for key, wanted in node.op.updated(own, steps[node.inputs[0]]).items():
                np.testing.assert_allclose(now[f"{node.name}.{key}"], wanted, rtol=EXACT, atol=EXACT)
                np.testing.assert_allclose(state[f"{node.name}.{key}"].numpy(), wanted, rtol=EXACT, atol=EXACT)


SIDES = [name for name, config in FAMILIES.items() if config.graph.sides and "probabilistic" not in name]


@pytest.mark.parametrize("name", SIDES)
def test_side_outputs(name):
    config = FAMILIES[name]
    flax, pytorch, tensors = twins(config)
    x = image(config)
    graph = config.graph
    last = () if name.startswith("m-net") else (graph.output.name,)
    named = [graph.activations(tensors, x)[side] for side in (*graph.sides, *last)]
    for reference, a, b in zip(named, flax.outputs(jnp.asarray(x)), pytorch.outputs(to_torch(x)), strict=True):
        assert relative(np.asarray(a), reference) < EXACT
        assert relative(from_torch(b), reference) < EXACT


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
    own = {name: tensors[config.pruned_name(name, level)] for name in pruned.graph.params}
    x = image(config)
    wanted = config.graph.activations(tensors, x)[f"heads.{level - 1}"]
    assert np.array_equal(pruned.graph.forward(own, x), wanted)
    assert relative(JaxRuntime(unet_jax.from_checkpoint(Checkpoint(pruned, own))).run(x), wanted) < EXACT


def test_only_a_supervised_unetpp_can_be_pruned():
    with pytest.raises(InputError, match="cannot prune to level 4: that takes deep_supervision and a level in 1 … 3"):
        FAMILIES["unet++-deep"].pruned(4)
    with pytest.raises(InputError, match="cannot prune"):
        FAMILIES["unet++"].pruned(1)


PROBABILISTIC = [name for name in FAMILIES if "probabilistic" in name]


@pytest.mark.parametrize("name", PROBABILISTIC)
def test_noise_makes_hypotheses(name):
    config = FAMILIES[name]
    flax, pytorch, tensors = twins(config)
    x = image(config)
    noise = np.random.default_rng(4).normal(size=(2, len(x), config.latent))
    maps = noise.reshape(2, len(x), *[1] * config.spatial_dims, config.latent)
    wanted = np.stack([config.graph.forward(tensors, x, inputs={"noise": eps}) for eps in maps])
    assert np.abs(wanted[0] - wanted[1]).max() > 1e-3
    assert relative(np.asarray(flax.sample(jnp.asarray(x), jnp.asarray(noise))), wanted) < EXACT
    samples = pytorch.sample(to_torch(x), torch.from_numpy(noise)).detach().numpy()
    assert relative(np.moveaxis(samples, 2, -1), wanted) < EXACT
    assert relative(np.asarray(flax(jnp.asarray(x), noise=jnp.asarray(noise[1]))), wanted[1]) < EXACT
    assert relative(from_torch(pytorch(to_torch(x), torch.from_numpy(noise[1]))), wanted[1]) < EXACT

    single = {key: t.astype(np.float32) for key, t in tensors.items()}
    session = OnnxRuntime(onnx_bytes(emit_onnx(config, single)))._session
    given = {"image": to_torch(x).numpy().astype(np.float32), "noise": noise[1].astype(np.float32)}
    (logits,) = session.run(["logits"], given)
    assert relative(np.moveaxis(np.asarray(logits), 1, -1), wanted[1]) < SINGLE


@pytest.mark.parametrize("name", PROBABILISTIC)
def test_posterior_and_prior(name):
    config = FAMILIES[name]
    flax, pytorch, tensors = twins(config)
    x, rng = image(config), np.random.default_rng(5)
    labels = rng.integers(0, 2, x.shape[:-1])
    noise = rng.normal(size=(len(x), config.latent))
    steps = config.graph.activations(tensors, x, inputs={"segmentation": labels[..., None].astype(float)})
    _, posterior, prior = flax.reconstruct(jnp.asarray(x), jnp.asarray(labels), jnp.asarray(noise))
    logits, of_torch, prior_of_torch = pytorch.reconstruct(
        to_torch(x), torch.from_numpy(labels), torch.from_numpy(noise)
    )
    for head, a, b in (("posterior.head", posterior, of_torch), ("prior.head", prior, prior_of_torch)):
        wanted = steps[head].reshape(len(x), -1)
        assert relative(np.concatenate(a, axis=-1), wanted) < EXACT
        assert relative(torch.cat(b, dim=-1).detach().numpy(), wanted) < EXACT
    # With the prior put in the posterior's place, the graph's own output must come out.
    mean, log_std = (p.detach().numpy() for p in of_torch)
    z = mean + np.exp(log_std) * noise
    mean, log_std = (p.detach().numpy() for p in prior_of_torch)
    equivalent = ((z - mean) / np.exp(log_std)).reshape(len(x), *[1] * config.spatial_dims, -1)
    assert relative(from_torch(logits), config.graph.forward(tensors, x, inputs={"noise": equivalent})) < EXACT


def test_an_input_that_is_missing_or_wrong_is_told():
    config = FAMILIES["probabilistic-unet"]
    tensors, x = random_tensors(config.graph, 0, np.float64), image(config)
    with pytest.raises(InputError, match=r"posterior.head cannot be computed without the input segmentation"):
        config.graph.activations(tensors, x, keep=("posterior.head",))
    with pytest.raises(InputError, match=r"the input 'noise' has shape \(3, 4\); expected \(3, 1, 1, 3\)"):
        config.graph.forward(tensors, x, inputs={"noise": np.zeros((3, 4))})
    with pytest.raises(InputError, match="the network has no input 'nose'; it has input, noise, segmentation"):
        config.graph.forward(tensors, x, inputs={"nose": np.zeros((3, 4))})


def test_transunet_with_positions_of_its_own_size_and_of_another():
    config = FAMILIES["transunet"]
    flax, pytorch, tensors = twins(config)
    for size in ((32, 48), (16, 16), (64, 48)):  # at 16, one token: a norm of a single value
        x = np.random.default_rng(6).normal(size=(1, *size, config.in_channels))
        reference = config.graph.forward(tensors, x)
        assert relative(JaxRuntime(flax).run(x), reference) < EXACT
        assert relative(TorchRuntime(pytorch).run(x), reference) < EXACT
        single = {name: t.astype(np.float32) for name, t in tensors.items()}
        assert (
            relative(OnnxRuntime(onnx_bytes(emit_onnx(config, single))).run(x.astype(np.float32)), reference) < SINGLE
        )


@pytest.mark.parametrize("size", [(1, 1), (7, 12), (33, 64)])
def test_fcn_takes_any_size(size):
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
