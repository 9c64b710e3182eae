"""Orbax checkpoints of this project and of other programs."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import nnx

import unet_jax
from unet_jax.interop.linen import variables_of
from unet_jax.interop.orbax import load_orbax, save_orbax
from unet_jax.weights import tensors
from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors

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
