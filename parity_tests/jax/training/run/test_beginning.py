"""A run that starts with the weights of a checkpoint, and a run with a frozen encoder."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

import unet_jax
from unet_data import membranes, split
from unet_jax import TrainSettings, train
from unet_jax.training.run.beginning import NewLayersWarning, begin, freeze, initial_weights
from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors

CONFIG = preset("same", widths=(2, 3), dropout=0.0)


@pytest.fixture
def folder(tmp_path):
    config = CONFIG.replace(out_channels=4)
    Checkpoint(config, random_tensors(config.graph, 0)).save(tmp_path / "weights")
    return tmp_path / "weights"


def test_weights_are_taken_and_what_is_new_is_said(folder):
    with pytest.warns(UserWarning, match=r"weights: 32 of 34 tensors used; 1 layer is initialised at random \(head\)"):
        model = begin(CONFIG, TrainSettings().replace(weights=str(folder)))
    found, stored = unet_jax.tensors(model), Checkpoint.load(folder).tensors
    assert {n for n, t in found.items() if t.tobytes() != stored[n].tobytes()} == {"head.weight", "head.bias"}


@pytest.mark.filterwarnings("ignore:.*initialised at random")
def test_a_frozen_encoder_is_what_it_was_after_training(folder, tmp_path):
    training, validation = split(membranes(2, 40, seed=0))
    settings = TrainSettings().replace(steps=2, tile=16, weights=str(folder), freeze=("encoder",))
    train(CONFIG, settings, training, validation, tmp_path / "run")
    after, stored = Checkpoint.load(tmp_path / "run/last").tensors, Checkpoint.load(folder).tensors
    same = {n for n, t in after.items() if t.shape == stored[n].shape and np.array_equal(t, stored[n])}
    assert {n for n in after if n.startswith("encoder.")} <= same
    assert not {n for n in after if n.startswith("decoder.") and n.endswith("conv1.weight")} & same


def test_a_part_that_does_not_exist_is_named():
    with pytest.raises(InputError, match="cannot freeze 'backbone'; this network has the parts encoder, decoder, head"):
        freeze(unet_jax.create(CONFIG), ["backbone"])


@pytest.mark.parametrize(
    ("stored", "own", "fresh"),
    [
        ((), ("membrane", "cell"), set()),
        (("membrane", "cell"), ("membrane", "cell"), set()),
        (("background", "nucleus"), ("membrane", "cell"), {"head.weight", "head.bias"}),
    ],
)
def test_a_head_of_other_classes_begins_anew_also_where_their_number_is_the_same(stored, own, fresh, tmp_path):
    tensors = random_tensors(CONFIG.graph, 0)
    Checkpoint(CONFIG, tensors, DataSpec(class_names=stored)).save(tmp_path / "weights")
    settings = TrainSettings().replace(weights=str(tmp_path / "weights"))
    adapted = initial_weights(CONFIG, settings, own)
    assert set(adapted.fresh) == fresh
    count = len(tensors) - len(fresh)
    what = "1 layer is initialised at random: head" if fresh else "no layer is initialised at random"
    assert adapted.lines == [f"{count} of {len(tensors)} tensors used", what]
    assert initial_weights(CONFIG, TrainSettings(), own) is None
    with pytest.warns(NewLayersWarning) if fresh else nullcontext():
        model = begin(CONFIG, settings, class_names=own)
    found = unet_jax.tensors(model)
    assert {n for n in tensors if not np.array_equal(found[n], tensors[n].astype(np.float32))} == fresh


def test_other_channels_begin_the_layers_that_see_them_anew(folder):
    rgb = CONFIG.replace(in_channels=3)
    adapted = initial_weights(rgb, TrainSettings().replace(weights=str(folder)), ("a", "b"))
    assert adapted.lines[1] == "2 layers are initialised at random: encoder.0.conv1, head"
