"""Random numbers of a training: each follows from the seed, the step, the image and the part; and what accumulation
does with the parts of a batch."""

from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unet_data import Sampler, membranes, split
from unet_jax.augment import NONE, Augmentation, _coordinates, augment
from unet_jax.objective import make_objective
from unet_jax.settings import TrainSettings
from unet_jax.step import initial_state, make_prepare, make_step
from unet_jax.train import train
from unet_jax.unet import UNet
from unet_spec import Checkpoint, preset

CONFIG = preset("paper", widths=(2, 4), dropout=0.0)
PLAIN = TrainSettings(
    steps=100, tile=28, optimizer="sgd", schedule="constant", learning_rate=0.1, momentum=0.0, weight_decay=0.0,
    clip=0.0, augmentation=NONE,
)  # fmt: skip
RNG = np.random.default_rng(0)


def batch(size):
    images = RNG.normal(size=(size, 28, 28, 1)).astype(np.float32)
    return images, (images[..., 0] > 0).astype(np.int32)


def key_data(key):
    return jax.random.key_data(key).tolist()


@pytest.mark.parametrize("how", [{"elastic": 3.0}, {"rotation": 180.0}, {"mirror": True}, {"contrast": 0.2}])
def test_each_seed_and_each_step_draws_its_own_variation(how):
    how = Augmentation(**({"elastic": 0.0, "rotation": 0.0, "mirror": False, "contrast": 0.0, "brightness": 0.0} | how))
    window = how.window((28, 28))
    images = RNG.normal(size=(4, *window, 1)).astype(np.float32)
    given = images, (images[..., 0] > 0).astype(np.int32)
    found = {}
    for seed in (0, 1):
        prepare = jax.jit(
            make_prepare(replace(PLAIN, seed=seed, augmentation=how), (28, 28), jnp.zeros(1), jnp.ones(1))
        )
        for step in (0, 1):
            image, _, _, drop = prepare(step, given)
            found[seed, step] = np.asarray(image).tobytes(), str(key_data(drop))
            assert np.asarray(prepare(step, given)[0]).tobytes() == found[seed, step][0]
    for part in zip(*found.values(), strict=True):
        assert len(set(part)) == 4


def test_the_angle_says_nothing_of_the_mirror_images():
    """Each is drawn by a key of its own."""
    how = Augmentation(elastic=0.0, rotation=90.0, mirror=True, contrast=0.0, brightness=0.0)
    size = how.window((9, 9))
    image = np.moveaxis(np.indices(size, np.float32), 0, -1) - (np.array(size) - 1) / 2
    many = np.broadcast_to(image.astype(np.float32), (400, *image.shape))
    found, _, _ = jax.jit(lambda i, n: augment(jax.random.key(0), i, n, (9, 9), how))(
        many, np.zeros(many.shape[:-1], int)
    )
    found = np.asarray(found, np.float64) / 4
    down, right = found[:, 8, 4], found[:, 4, 8]  # of the centre: (± cos, ± sin), (∓ sin, ± cos), cos is not negative
    signs = np.sign([down[:, 0], right[:, 1]])
    angle = np.arcsin(np.clip(signs[1] * down[:, 1], -1, 1))
    for sign in signs:
        assert 150 < (sign > 0).sum() < 250
        assert abs(np.corrcoef(sign, angle)[0, 1]) < 0.2


def test_what_a_warp_needs_lies_in_the_window():
    """Three standard deviations: hardly a pixel comes from beyond the window's edge."""
    how = Augmentation(elastic=10.0, rotation=0.0, mirror=False, contrast=0.0, brightness=0.0)
    tile, window = (33, 65), how.window((33, 65))
    keys = jax.random.split(jax.random.key(0), 100)
    found = np.asarray(jax.jit(jax.vmap(lambda key: _coordinates(key, how, tile, window)))(keys))
    last = np.array(window).reshape(2, 1, 1) - 1
    assert ((found < 0) | (found > last)).mean() < 0.001
    assert found.max() > max(tile)  # and more than the tile is needed


def test_steps_of_different_seeds_share_no_places():
    data = membranes(8, 64, 0)
    seen = {}
    for seed in (5, 6):
        sampler = Sampler(data, (28, 28), (12, 12), 2, seed)
        for step in (7, 8):
            seen[seed, step] = str(sampler.places(step))
    assert len(set(seen.values())) == 4


def objective_of(settings, config):
    graphdef, state = initial_state(UNet(config, 0), settings)
    step = make_step(graphdef, settings, (28, 28), jnp.zeros(1), jnp.ones(1))
    prepare = make_prepare(settings, (28, 28), jnp.zeros(1), jnp.ones(1))
    return state, step, prepare, jax.jit(make_objective(graphdef, settings))


def test_each_part_of_a_batch_has_its_own_dropout():
    settings = replace(PLAIN, batch=2, accumulate=2)
    state, step, prepare, objective = objective_of(settings, CONFIG.replace(dropout=0.5))
    image, label = batch(1)
    given = np.concatenate([image, image]), np.concatenate([label, label])
    key = prepare(jnp.int32(0), given)[3]
    losses = [
        float(objective(state["params"], state["stats"], image, label, None, jax.random.fold_in(key, part))[0])
        for part in range(2)
    ]
    assert abs(losses[0] - losses[1]) > 1e-3
    assert float(step(state, *given)[1]) == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_statistics_go_from_part_to_part():
    settings = replace(PLAIN, batch=4, accumulate=2)
    state, step, prepare, objective = objective_of(settings, CONFIG.replace(norm="batch"))
    images, labels = batch(4)
    key, stats = prepare(jnp.int32(0), (images, labels))[3], state["stats"]
    for part in range(2):  # of interleaved images
        own = slice(part, None, 2)
        _, stats = objective(state["params"], stats, images[own], labels[own], None, jax.random.fold_in(key, part))
    wanted = [np.array(x) for x in jax.tree.leaves(stats)]
    for one, other in zip(jax.tree.leaves(step(state, images, labels)[0]["stats"]), wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_the_weights_of_a_part_are_those_of_its_images():
    """A loss is divided by the sum of its weights: parts of images and of weights that are not the same ones differ."""
    settings = replace(PLAIN, batch=4, accumulate=2)
    state, step, _, objective = objective_of(settings, CONFIG)
    images, labels = batch(4)
    weights = RNG.uniform(0, 3, labels.shape).astype(np.float32) * np.array([1, 5, 0.1, 9], np.float32)[:, None, None]
    parts = [a[[0, 2, 1, 3]].reshape(2, 2, *a.shape[1:]) for a in (images, labels, weights)]
    both = zip(*parts, strict=True)
    losses = [float(objective(state["params"], state["stats"], *part, jax.random.key(0))[0]) for part in both]
    assert float(step(state, images, labels, weights)[1]) == pytest.approx(np.mean(losses), rel=1e-5)


def test_bfloat16_is_what_the_convolutions_compute_in():
    settings = replace(PLAIN, precision="bfloat16")
    graphdef, state = initial_state(UNet(CONFIG, 0), settings)
    images, labels = batch(1)
    made = jax.make_jaxpr(make_objective(graphdef, settings))(
        state["params"], state["stats"], jnp.asarray(images), jnp.asarray(labels), None, jax.random.key(0)
    )
    found = [eqn for eqn in equations(made.jaxpr) if eqn.primitive.name in ("conv_general_dilated", "dot_general")]
    assert len(found) >= 7
    assert {v.aval.dtype for eqn in found for v in eqn.invars} == {jnp.dtype("bfloat16")}


def equations(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def first_weights(folder, **changes):
    settings = replace(PLAIN, steps=1, learning_rate=1e-30, **changes)
    train(CONFIG, settings, *split(membranes(4, 40, 0)), folder)
    return np.concatenate([a.ravel() for a in Checkpoint.load(folder / "last").tensors.values()])


def test_each_seed_has_its_own_first_weights(tmp_path):
    found = [first_weights(tmp_path / str(number), seed=seed) for number, seed in enumerate((0, 0, 5))]
    np.testing.assert_array_equal(found[0], found[1])
    assert all(np.abs(one - other).max() > 0.1 for one, other in pairwise(found[1:]))
