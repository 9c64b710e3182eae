"""User-defined loss, augmentation and callbacks."""

import functools
import signal
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unet_jax import UNet
from unet_jax.losses import cross_entropy
from unet_jax.training.loop import train
from unet_jax.training.objective import make_objective
from unet_jax.training.run.folder import read_run
from unet_jax.training.run.hooks import Hooks
from unet_jax.training.run.values import RunValues
from unet_jax.training.step import initial_state, make_prepare
from unet_spec import InputError

from ..small_runs import SMALL, WITHOUT_DROPOUT, data
from ..steps import PLAIN, batch


def test_a_loss_takes_the_place_of_that_of_the_settings():
    graphdef, state = initial_state(UNet(WITHOUT_DROPOUT, 0), PLAIN)
    images, labels, weights = batch(weighted=True)
    labels, weights = (np.asarray(x)[:, 8:20, 8:20] for x in (labels, weights))
    given = (state["params"], state["stats"], jnp.asarray(images), labels, weights, jax.random.key(0))

    def double(logits, labels, weights):
        assert (logits.dtype, logits.shape[:-1]) == (jnp.float32, labels.shape)
        return 2 * cross_entropy(logits, labels, weights, None, 0.0)

    plain, _ = make_objective(graphdef, PLAIN)(*given)
    own, _ = make_objective(graphdef, PLAIN, own=double)(*given)
    assert float(own) == pytest.approx(2 * float(plain), rel=1e-6)


def test_an_augmentation_follows_on_that_of_the_settings_with_a_key_for_each_step():
    seen = []

    def brighten(key, images, labels, weights):
        seen.append(key)
        return images + jax.random.uniform(key), 1 - labels, weights

    images, labels = batch()
    values = RunValues.of(PLAIN, [0.0], [1.0])
    plain = partial(make_prepare(PLAIN, (28, 28)), values)
    own = partial(make_prepare(PLAIN, (28, 28), None, brighten), values)
    for step in (0, 1, 0):
        before, after = plain(jnp.int32(step), (images, labels)), own(jnp.int32(step), (images, labels))
        np.testing.assert_allclose(after[0], before[0] + jax.random.uniform(seen[-1]), rtol=1e-6)
        np.testing.assert_array_equal(after[1], 1 - np.asarray(before[1]))
        assert (after[3] == before[3]).all()  # dropout draws the same numbers as without it
    assert (seen[0] == seen[2]).all()
    assert not (seen[0] == seen[1]).all()


def test_an_augmentation_that_changes_shapes_is_refused():
    prepare = make_prepare(PLAIN, (28, 28), None, lambda key, images, labels, weights: (images[:, 4:], labels, weights))
    with pytest.raises(InputError, match=r"into \(2, 24, 28, 1\) and \(2, 28, 28\); their shapes must not change"):
        prepare(RunValues.of(PLAIN, [0.0], [1.0]), jnp.int32(0), batch())


def nothing(logits, labels, weights):
    return 0 * logits.sum()


def same(key, images, labels, weights):
    return images, labels, weights


def test_a_run_names_its_functions_and_goes_on_with_them_only(tmp_path):
    settings, calls = SMALL.replace(steps=4, log_every=1, validate_every=1), []

    def stop_at_two(record, network):
        calls.append((record["step"], network.config))
        return record["step"] == 2

    run = functools.partial(train, WITHOUT_DROPOUT, settings, *data(), tmp_path / "run")
    result = run(loss=nothing, augment=same, callbacks=[stop_at_two])
    assert result.stop_signal == signal.SIGTERM
    assert calls == [(1, WITHOUT_DROPOUT), (2, WITHOUT_DROPOUT)]
    assert {record.get("loss", record.get("validation_loss")) for record in result.log} == {0.0}
    assert read_run(tmp_path / "run")["own"] == {"loss": "nothing", "augment": "same"}
    with pytest.raises(InputError, match="with the loss nothing, the augment same, not with no function of your own"):
        run(resume=True)
    resumed = run(resume=True, loss=nothing, augment=same)
    assert resumed.stop_signal is None
    assert [record["step"] for record in resumed.log if "iou" in record] == [1, 2, 3, 4]


def test_functions_are_named_as_python_names_them():
    hooks = Hooks(functools.partial(nothing), np.add)
    assert hooks.names == {"loss": "nothing", "augment": "add"}
    assert Hooks(callbacks=[print]).names == {}
