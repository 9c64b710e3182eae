"""A step on one CPU: equal loss, gradients and statistics, and the layers that use CPU operations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from unet_jax import UNet
from unet_jax.nn.convolution import Conv, UpConv
from unet_jax.nn.norm import BatchNorm
from unet_jax.training.augmentation.augment import NONE
from unet_jax.training.objective import make_objective
from unet_jax.training.run.values import RunValues
from unet_jax.training.settings import TrainSettings
from unet_jax.training.step import initial_state, make_step
from unet_spec import preset

from ..nn.cpu.cases import everywhere


def objective(config, tile, cpu_step, settings):
    graphdef, state = initial_state(UNet(config, 0, dtype=jnp.float64), settings)
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(2, tile, tile, 1)))
    labels = jnp.asarray(rng.integers(0, 2, (2, tile, tile)))
    run = make_objective(graphdef, settings, cpu_step)
    return jax.jit(jax.value_and_grad(run, has_aux=True))(
        state["params"], state["stats"], images, labels, None, jax.random.key(0)
    )


@pytest.mark.parametrize(
    ("changes", "remat"),
    [
        ({"norm": "batch"}, False),
        pytest.param({"norm": "batch"}, True, marks=pytest.mark.slow),
        pytest.param({"norm": "none", "padding": "same", "merge": "pad"}, False, marks=pytest.mark.slow),
        pytest.param({"upsampling": "bilinear"}, False, marks=pytest.mark.slow),
    ],
)
def test_a_whole_step_has_the_same_loss_gradients_and_statistics(monkeypatch, changes, remat):
    everywhere(monkeypatch)
    config = preset("paper", widths=(3, 6), dropout=0.0).replace(**changes)
    settings = TrainSettings().replace(steps=1, tile=28, batch=2, augmentation=NONE, remat=remat)
    with jax.enable_x64(True):
        found, wanted = (objective(config, 28, cpu_step, settings) for cpu_step in (True, False))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("mesh", [None, "one device"])
def test_only_the_step_of_one_cpu_has_it(monkeypatch, mesh):
    asked = []
    monkeypatch.setattr(
        "unet_jax.training.step.make_objective",
        lambda g, s, cpu_step, own: asked.append(cpu_step) or make_objective(g, s, cpu_step, own),
    )
    settings = TrainSettings().replace(steps=1, tile=28, batch=1, augmentation=NONE)
    graphdef, state = initial_state(UNet(preset("paper", widths=(2, 4)), 0), settings)
    sharing = (
        {}
        if mesh is None
        else {"mesh": Mesh(np.array(jax.devices()[:1]).reshape(1, 1, 1), ("data", "rows", "columns")), "state": state}
    )
    make_step(graphdef, settings, (28, 28), **sharing)
    assert asked == [mesh is None and jax.default_backend() == "cpu"]


@pytest.mark.parametrize(("dims", "long_vectors"), [(2, True), (3, False)])
def test_steps_of_images_ask_for_long_vectors(monkeypatch, dims, long_vectors):
    asked = []
    monkeypatch.setattr(
        "unet_jax.training.step.compiler_options", lambda platform, long_vectors: asked.append(long_vectors) or {}
    )
    settings = TrainSettings().replace(steps=1, tile=28, batch=1, augmentation=NONE)
    graphdef, _ = initial_state(UNet(preset("paper", widths=(2, 4), spatial_dims=dims), 0), settings)
    make_step(graphdef, settings, (28,) * dims)
    assert asked == [long_vectors]


@pytest.mark.slow
def test_every_layer_that_knows_a_cpu_step_gets_it(monkeypatch):
    printed = []
    for cls in (Conv, UpConv, BatchNorm):
        call = cls.__call__
        monkeypatch.setattr(cls, "__call__", lambda self, x, call=call: printed.append(self.cpu_step) or call(self, x))
    config = preset("paper", widths=(2, 4), dropout=0.0, norm="batch")
    settings = TrainSettings().replace(steps=1, tile=28, batch=1, augmentation=NONE)
    graphdef, state = initial_state(UNet(config, 0), settings)
    step = make_step(graphdef, settings, (28, 28))
    values, images, labels = RunValues.of(settings, [0.0], [1.0]), np.ones((1, 28, 28, 1)), np.zeros((1, 28, 28))
    step(state, values, images.astype(np.float32), labels.astype(np.int32))
    assert len(printed) >= 7 + 1 + 6
    assert all(printed)
    printed.clear()
    UNet(config, 0)(jnp.ones((1, 28, 28, 1)))
    assert set(printed) == {False}
