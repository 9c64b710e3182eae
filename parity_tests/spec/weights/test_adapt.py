"""Weights for other channels and classes: what fits is taken, what does not begins anew, and that is said."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from unet_spec import Checkpoint, DataSpec, InputError, adapt, preset, random_tensors, take_weights
from unet_spec.weights.data_spec import EmptyDataSpecWarning

from ...fixtures.family_cases import FAMILIES

CONFIG = preset("same", widths=(2, 3))
CHECKPOINT = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0), DataSpec((0.5,), (0.2,), ("a", "b")))


def test_another_head_keeps_the_rest():
    adapted = adapt(CHECKPOINT, class_names=("x", "y", "z"))
    assert adapted.fresh == ("head.weight", "head.bias")
    assert adapted.note == "32 of 34 tensors used; 1 layer is initialised at random (head)"
    assert adapted.checkpoint.data == DataSpec((0.5,), (0.2,), ("x", "y", "z"))
    for name, tensor in adapted.checkpoint.tensors.items():
        if name not in adapted.fresh:
            np.testing.assert_array_equal(tensor, CHECKPOINT.tensors[name])


def test_other_names_of_as_many_classes_are_other_classes():
    assert adapt(CHECKPOINT, class_names=("x", "y")).fresh == ("head.weight", "head.bias")
    assert adapt(CHECKPOINT, class_names=("a", "b")).note is None


def test_other_channels_drop_the_normalisation():
    adapted = adapt(CHECKPOINT, in_channels=3)
    assert adapted.fresh == ("encoder.0.conv1.weight",)
    assert adapted.checkpoint.data.mean == ()
    assert adapted.note.endswith("not used: the normalisation")


def test_settings_that_no_tensor_shows_are_reported():
    other = CONFIG.replace(activation="leaky_relu", padding="valid" if CONFIG.padding == "same" else "same")
    taken = take_weights(CHECKPOINT, other)
    said = f"activation leaky_relu (was relu), padding {other.padding} (was {CONFIG.padding})"
    assert set(taken.settings) == set(said.split(", "))
    assert taken.lines[0].startswith(f"{len(CHECKPOINT.tensors)} of {len(CHECKPOINT.tensors)} tensors used, with other")
    assert taken.note is not None
    assert take_weights(CHECKPOINT, CONFIG.replace(dropout=0.5)).note is None


def test_how_files_are_read_is_dropped_where_it_holds_for_the_old_images_or_classes():
    """Colour images of a network whose training averaged them to grey would be refused, with advice to repeat grey."""
    reading = {"channels": "grey", "class_colors": "#000000,#ff0000", "orientation": "ignore"}
    data = DataSpec((0.5,), (0.2,), ("a", "b"), reading=reading, labels={"class_numbers": "255,0"})
    point = Checkpoint(CONFIG, CHECKPOINT.tensors, data)
    adapted = adapt(point, in_channels=3)
    assert adapted.checkpoint.data.reading == reading | {"channels": "auto"}
    assert adapted.note.endswith("not used: the normalisation and how channels were read")
    adapted = adapt(point, class_names=("x", "y", "z"))
    assert adapted.checkpoint.data.reading == reading | {"class_colors": ""}
    assert adapted.checkpoint.data.labels is None
    assert adapted.note.endswith("not used: the colours of the classes and the numbers of the classes")
    assert adapt(point, class_names=("a", "b")).checkpoint.data == data
    assert adapt(CHECKPOINT, in_channels=3).checkpoint.data.reading is None


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="2 class names for 3 classes"):
        adapt(CHECKPOINT, out_channels=3, class_names=("a", "b"))
    with pytest.raises(InputError, match="for the architecture 'unet', the network is 'm-net'"):
        take_weights(CHECKPOINT, preset("m-net"))
    with pytest.raises(InputError, match="the widths must be equal"):
        take_weights(CHECKPOINT, CONFIG.replace(widths=(7, 9), in_channels=2, out_channels=5))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_architecture_takes_another_number_of_classes(name):
    config = FAMILIES[name]
    adapted = adapt(Checkpoint(config, random_tensors(config.graph, 0)), out_channels=config.out_channels + 2)
    assert 0 < len(adapted.fresh) < len(adapted.checkpoint.tensors)


@pytest.mark.parametrize("twin", ["unet_torch", "unet_jax"])
def test_both_twins_open_it_alike_and_say_so(twin, tmp_path):
    package = importlib.import_module(twin)
    CHECKPOINT.save(tmp_path)
    with pytest.warns(UserWarning, match=r"32 of 34 tensors used; 1 layer is initialised at random \(head\)"):
        model = package.from_pretrained(tmp_path, out_channels=3, class_names=("x", "y", "z"))
    with pytest.warns(UserWarning, match="initialised at random"):
        again = package.UNet.from_pretrained(tmp_path, class_names=("x", "y", "z"))
    tensors = importlib.import_module(f"{twin}.weights").tensors
    expected = adapt(CHECKPOINT, class_names=("x", "y", "z")).checkpoint.tensors
    for loaded in (model, again):
        assert loaded.data.class_names == ("x", "y", "z")
        assert all(t.tobytes() == expected[name].tobytes() for name, t in tensors(loaded).items())


@pytest.mark.parametrize("twin", ["unet_torch", "unet_jax"])
def test_saving_without_facts_warns(twin, tmp_path):
    model = importlib.import_module(twin).create(CONFIG)
    with pytest.warns(EmptyDataSpecWarning, match="set model.data"):
        model.save_pretrained(tmp_path)
    model.data = DataSpec((0.5,), (0.2,))
    model.save_pretrained(tmp_path)
