"""What a training step on one CPU does differently: its convolutions, and sums over pixels in two steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh

from unet_jax import convolution, winograd
from unet_jax.augment import NONE
from unet_jax.blocks import BatchNorm
from unet_jax.convolution import Conv, channel_mean, conv_axes, spread
from unet_jax.cpu_convolution import convolve
from unet_jax.objective import make_objective
from unet_jax.settings import TrainSettings
from unet_jax.step import initial_state, make_step
from unet_jax.unet import UNet
from unet_jax.windows import UpConv
from unet_spec import preset


def direct(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1,) * (x.ndim - 2), "VALID", dimension_numbers=conv_axes(x.ndim), precision="highest"
    )


def case(shape=(2, 12, 18, 5), features=7, window=(3, 3), dtype=np.float64):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=shape), rng.normal(size=(*window, shape[-1], features))
    sizes = (n - w + 1 for n, w in zip(shape[1:], window, strict=False))
    return [jnp.asarray(a, dtype) for a in (x, kernel, rng.normal(size=(shape[0], *sizes, features)))]


def everywhere(monkeypatch):
    """Winograd's products wherever they can be computed, however small."""
    monkeypatch.setattr(winograd, "_SAVED", 0)
    monkeypatch.setattr(winograd, "_SMALLEST", 0)


def value_and_gradients(function, x, kernel, g):
    y, back = jax.vjp(function, x, kernel)
    return [np.asarray(a) for a in (y, *back(g))]


def far(a, b):
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.mark.parametrize(
    ("shape", "window", "features", "convolutions", "products"),
    [
        ((2, 12, 18, 5), (3, 3), 7, 0, 16),  # Winograd's
        ((1, 4, 4, 2), (3, 3), 1, 0, 16),
        ((2, 13, 18, 5), (3, 3), 7, 1, 0),  # an odd size
        ((2, 12, 18, 5), (5, 2), 7, 1, 0),  # another window
        ((2, 12, 18, 5), (1, 1), 7, 1, 0),
        ((2, 12, 18, 1), (3, 3), 7, 0, 0),  # shifted images
        ((2, 13, 9, 1), (2, 4), 1, 0, 0),
        ((2, 13, 9, 1), (2, 5), 1, 1, 0),  # too many of them
        ((2, 5, 12, 8, 3), (3, 3, 3), 4, 0, 48),  # a volume by planes
        ((2, 5, 7, 8, 3), (2, 1, 3), 4, 2, 0),
        ((1, 4, 6, 8, 1), (3, 3, 3), 4, 0, 0),
    ],
)
def test_it_is_the_convolution_and_its_gradients(monkeypatch, shape, window, features, convolutions, products):
    everywhere(monkeypatch)
    with jax.enable_x64(True):
        given = case(shape, features, window)
        found, wanted = (value_and_gradients(f, *given) for f in (convolve, direct))
        text = str(jax.make_jaxpr(convolve)(*given[:2]))
    assert max(far(a, b) for a, b in zip(found, wanted, strict=True)) < 1e-14
    assert (text.count("conv_general_dilated["), text.count("dot_general[")) == (convolutions, products)


def test_the_gradient_for_the_input_is_such_a_convolution_or_xlas(monkeypatch):
    x, kernel, g = case(dtype=np.float32)

    def products():
        return str(jax.make_jaxpr(lambda x: jax.vjp(lambda x: convolve(x, kernel), x)[1](g))(x)).count("dot_general[")

    assert products() == 0
    everywhere(monkeypatch)
    assert products() == 32


def test_in_float32_it_is_about_as_near_as_the_direct_sum(monkeypatch):
    everywhere(monkeypatch)
    with jax.enable_x64(True):
        given = case((1, 34, 34, 64), 48)
        exact = value_and_gradients(direct, *given)
        small = [a.astype(jnp.float32) for a in given]
        errors = [
            [far(a, b) for a, b in zip(value_and_gradients(f, *small), exact, strict=True)] for f in (convolve, direct)
        ]
    assert all(mine < 4 * theirs for mine, theirs in zip(*errors, strict=True)), errors
    assert max(errors[0]) < 2e-6


@pytest.mark.parametrize(
    ("shape", "features", "wanted"),
    [
        ((1, 138, 138, 64), 64, True),
        ((4, 58, 58, 64), 64, True),  # the images count together
        ((1, 46, 46, 64), 64, False),  # sixteen small products
        ((1, 282, 282, 32), 32, False),  # too few channels
        ((1, 282, 282, 64), 64, False),  # too few channels for tiles that are not in the cache
        ((1, 282, 282, 128), 128, True),
        ((1, 137, 138, 64), 64, False),
        ((1, 138, 137, 64), 64, False),
        ((1, 2, 9000, 512), 512, False),
    ],
)
def test_where_it_is_faster(shape, features, wanted):
    assert winograd.suits(shape, features) is wanted


def layer(channels, features, kernel, strides, pad, bias=True):
    rngs = nnx.Rngs(1)
    padding = [(pad, pad)] * len(kernel)
    return Conv(channels, features, kernel, strides, padding=padding, use_bias=bias, param_dtype=jnp.float64, rngs=rngs)


@pytest.mark.parametrize(
    ("kernel", "strides", "pad", "size", "ours"),
    [
        ((3, 3), 1, 0, (12, 10), True),
        ((3, 3), (1, 1), 1, (12, 10), True),
        ((3, 3), 1, 1, (13, 10), True),
        ((3, 3), (2, 2), 1, (12, 10), False),
        ((3, 3), (1, 2), 1, (12, 10), False),
        ((1, 1), 1, 0, (12, 10), False),
        ((1, 1), 2, 0, (12, 10), False),
        ((1, 1), 1, 1, (12, 10), True),
        ((5, 3), 1, 1, (12, 10), True),
        ((3, 3, 3), 1, 1, (6, 6, 6), True),
        ((3, 3, 3), 1, 0, (6, 7, 6), True),
        ((3, 3, 3), 2, 1, (6, 6, 6), False),
        ((3,), 1, 1, (12,), False),
        ((1, 1, 1), 1, 0, (6, 6, 6), False),
    ],
)
def test_a_layer_is_the_same_in_a_cpu_step(monkeypatch, kernel, strides, pad, size, ours):
    everywhere(monkeypatch)
    used = []
    monkeypatch.setattr(convolution, "convolve", lambda *a: used.append(1) or convolve(*a))
    with jax.enable_x64(True):
        conv = layer(4, 6, kernel, strides, pad)
        conv.bias[...] = jnp.arange(6.0)
        x = jnp.asarray(np.random.default_rng(0).normal(size=(2, *size, 4)))
        weight = jnp.asarray(np.random.default_rng(1).normal(size=conv(x).shape))

        def run(conv, x):
            return (conv(x) * weight).sum()

        wanted = nnx.value_and_grad(run, argnums=(0, 1))(conv, x)
        assert not used
        conv.set_attributes(cpu_step=True)
        found = nnx.value_and_grad(run, argnums=(0, 1))(conv, x)
    assert bool(used) is ours
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_bfloat16_is_left_to_xla(monkeypatch):
    everywhere(monkeypatch)
    monkeypatch.setattr(convolution, "convolve", None)
    conv = Conv(4, 6, (3, 3), padding=[(0, 0)] * 2, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    conv.set_attributes(cpu_step=True)
    assert conv(jnp.ones((1, 12, 12, 4))).dtype == jnp.bfloat16


@pytest.mark.parametrize("shape", [(3, 8, 5, 4), (2, 3, 4, 5, 6)])
def test_sums_over_pixels_in_two_steps(shape):
    with jax.enable_x64(True):
        x, g = (jnp.asarray(np.random.default_rng(s).normal(size=shape)) for s in (0, 1))
        values = jnp.arange(1.0, 1 + shape[-1])
        for combine in (jnp.add, jnp.multiply):
            found, wanted = (
                jax.vjp(lambda v, two=two, c=combine: c(x, spread(v, x, two)), values) for two in (True, False)
            )
            np.testing.assert_array_equal(found[0], wanted[0])
            np.testing.assert_allclose(found[1](g)[0], wanted[1](g)[0], rtol=1e-12)
        np.testing.assert_allclose(channel_mean(x, True), channel_mean(x, False), rtol=1e-12)
        assert channel_mean(x, True).shape == shape[-1:]


def objective(config, tile, cpu_step, settings):
    graphdef, state = initial_state(UNet(config, 0, dtype=jnp.float64), settings)
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(2, tile, tile, 1)))
    labels = jnp.asarray(rng.integers(0, 2, (2, tile, tile)))
    run = make_objective(graphdef, settings, cpu_step)
    return jax.value_and_grad(run, has_aux=True)(
        state["params"], state["stats"], images, labels, None, jax.random.key(0)
    )


@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize(
    "changes", [{"norm": "batch"}, {"norm": "none", "padding": "same", "merge": "pad"}, {"upsampling": "bilinear"}]
)
def test_a_whole_step_has_the_same_loss_gradients_and_statistics(monkeypatch, changes, remat):
    everywhere(monkeypatch)
    config = preset("paper", widths=(3, 6, 8), dropout=0.0).replace(**changes)
    settings = TrainSettings(steps=1, tile=68, batch=2, augmentation=NONE, remat=remat)
    with jax.enable_x64(True):
        found, wanted = (objective(config, 68, cpu_step, settings) for cpu_step in (True, False))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("mesh", [None, "one device"])
def test_only_the_step_of_one_cpu_has_it(monkeypatch, mesh):
    asked = []
    monkeypatch.setattr(
        "unet_jax.step.make_objective", lambda g, s, cpu_step: asked.append(cpu_step) or make_objective(g, s, cpu_step)
    )
    settings = TrainSettings(steps=1, tile=28, batch=1, augmentation=NONE)
    graphdef, state = initial_state(UNet(preset("paper", widths=(2, 4)), 0), settings)
    sharing = (
        {}
        if mesh is None
        else {"mesh": Mesh(np.array(jax.devices()[:1]).reshape(1, 1, 1), ("data", "rows", "columns")), "state": state}
    )
    make_step(graphdef, settings, (28, 28), jnp.zeros(1), jnp.ones(1), **sharing)
    assert asked == [mesh is None and jax.default_backend() == "cpu"]


@pytest.mark.parametrize(("dims", "long_vectors"), [(2, True), (3, False)])
def test_steps_of_images_ask_for_long_vectors(monkeypatch, dims, long_vectors):
    asked = []
    monkeypatch.setattr("unet_jax.step.compiler_options", lambda long_vectors: asked.append(long_vectors) or {})
    settings = TrainSettings(steps=1, tile=28, batch=1, augmentation=NONE)
    graphdef, _ = initial_state(UNet(preset("paper", widths=(2, 4), spatial_dims=dims), 0), settings)
    make_step(graphdef, settings, (28,) * dims, jnp.zeros(1), jnp.ones(1))
    assert asked == [long_vectors]


def test_every_layer_that_knows_a_cpu_step_is_told(monkeypatch):
    told = []
    for cls in (Conv, UpConv, BatchNorm):
        call = cls.__call__
        monkeypatch.setattr(cls, "__call__", lambda self, x, call=call: told.append(self.cpu_step) or call(self, x))
    config = preset("paper", widths=(2, 4), dropout=0.0, norm="batch")
    settings = TrainSettings(steps=1, tile=28, batch=1, augmentation=NONE)
    graphdef, state = initial_state(UNet(config, 0), settings)
    step = make_step(graphdef, settings, (28, 28), jnp.zeros(1), jnp.ones(1))
    step(state, np.ones((1, 28, 28, 1), np.float32), np.zeros((1, 28, 28), np.int32))
    assert len(told) >= 7 + 1 + 6
    assert all(told)
    told.clear()
    UNet(config, 0)(jnp.ones((1, 28, 28, 1)))
    assert set(told) == {False}
