"""Orbax checkpoints of this project and of other programs."""

from __future__ import annotations

import time
from threading import Thread

import jax
import numpy as np
import pytest
from flax import nnx

import unet_jax
from unet_jax.interop.linen import variables_of
from unet_jax.interop.orbax import _newest_step, _weights, load_orbax, save_orbax
from unet_jax.weights import tensors
from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors
from unet_spec.errors import OutputError

CONFIG = preset("same", widths=(3, 4), in_channels=2, dropout=0.0)


@pytest.fixture
def model():
    return unet_jax.from_checkpoint(Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0)))


def same(a, b) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y), a, b)


def test_orbax_to_safetensors_and_back(model, tmp_path):
    checkpoint = Checkpoint(CONFIG, tensors(model), DataSpec((0.5, 0.1), (1.0, 2.0)))
    save_orbax(checkpoint, tmp_path / "orbax")
    back = load_orbax(tmp_path / "orbax")
    assert (back.config, back.data) == (checkpoint.config, checkpoint.data)
    same(back.tensors, checkpoint.tensors)
    back.save(tmp_path / "folder")
    assert Checkpoint.load(tmp_path / "folder").digest() == checkpoint.digest()
    with pytest.raises(InputError, match="exists; give a new folder"):
        save_orbax(checkpoint, tmp_path / "orbax")
    with pytest.raises(InputError, match="another network"):
        load_orbax(tmp_path / "orbax", preset("paper"))
    with pytest.raises(InputError, match="no such folder"):
        load_orbax(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="not a readable Orbax checkpoint"):
        load_orbax(tmp_path / "empty", CONFIG)


def test_others_orbax_checkpoints_are_read_with_a_config(model, tmp_path):
    """An NNX state and a Linen variables dictionary, as their programs save them."""
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as writer:
        writer.save(tmp_path / "linen", variables_of(model))
        writer.save(tmp_path / "nnx", nnx.state(model, (nnx.Param, nnx.BatchStat)))
    for name in ("linen", "nnx"):
        same(load_orbax(tmp_path / name, CONFIG).tensors, tensors(model))
    with pytest.raises(InputError, match="give its config"):
        load_orbax(tmp_path / "linen")


def test_what_threads_still_write_after_a_failed_save_is_removed_too(tmp_path, monkeypatch):
    """TensorStore's threads go on for a moment after the first error, and make the folders that they miss."""
    import orbax.checkpoint as ocp

    late = []

    def fails(self, folder, items):
        def write():
            for part in range(3):
                time.sleep(0.01)
                begun = tmp_path / f"{folder.name}.orbax-checkpoint-tmp" / "d"
                begun.mkdir(parents=True, exist_ok=True)
                (begun / str(part)).write_text("late")
                late.append(part)

        threads.append(Thread(target=write))
        threads[0].start()
        raise ValueError("no space left on device")

    threads: list[Thread] = []
    monkeypatch.setattr(ocp.Checkpointer, "save", fails)
    with pytest.raises(OutputError, match="no space left on device"):
        save_orbax(Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0)), tmp_path / "w")
    threads[0].join()
    assert late == [0, 1, 2]
    assert not list(tmp_path.iterdir())


def test_the_newest_step_of_a_run_is_the_highest_number(tmp_path):
    assert _newest_step(tmp_path) == tmp_path
    for name in ("9", "10", "11.tmp", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "12").write_text("a file")
    assert _newest_step(tmp_path) == tmp_path / "10"


def test_weights_are_found_with_or_without_collections():
    """Counters of an optimizer and empty parts are no weights; NNX keeps each array under "value"."""
    conv = {"conv": {"kernel": {"value": 1}, "bias": None}, "blocks": [{"scale": 2}, {"scale": {"value": 3}}]}
    names = {("conv", "kernel"): 1, ("blocks", "0", "scale"): 2, ("blocks", "1", "scale"): 3}
    assert dict(_weights(conv)) == names
    whole = {"opt": {"count": 7}, "params": conv, "batch_stats": {"norm": {"mean": 4}}, "stats": None, "step": 9}
    assert dict(_weights(whole)) == names | {("norm", "mean"): 4}
    assert dict(_weights({"params": conv, "stats": {1: {"var": 5}}})) == names | {("1", "var"): 5}
    assert dict(_weights({"value": 6})) == {(): 6}


def test_what_is_no_checkpoint_of_orbax_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"no Orbax checkpoint at .*file: it is a file"):
        load_orbax(tmp_path / "file")
    (tmp_path / "broken" / "config").mkdir(parents=True)
    with pytest.raises(InputError, match=r"broken.config: not a readable config"):
        load_orbax(tmp_path / "broken", CONFIG)
