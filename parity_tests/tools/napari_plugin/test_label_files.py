"""Label files of `unet predict --output objects` in napari. Needs napari, but no Qt and no display."""

import numpy as np
import pytest

pytest.importorskip("napari", reason="napari is not installed; pip install 'unet-twins[napari]'")

from napari.components import ViewerModel
from napari.layers import Labels
from npe2 import PluginManager

from unet_data import objects_of
from unet_data.objects.labels_file import write_labels
from unet_tools.cli import main

from ...data.objects.test_labels_file import page
from ..commands.test_predict_objects import SETTINGS, exact_network, image_of


def opened(path):
    """The layer of a file, as of `napari --layer-type labels FILE`."""
    PluginManager.instance().discover(include_npe1=False)  # napari's own readers are a plugin, too
    (layer,) = ViewerModel().open(str(path), plugin="napari", layer_type="labels")
    assert isinstance(layer, Labels)
    return layer


@pytest.mark.parametrize("shape", [(61, 83), (2, 61, 53)], ids=["one image", "two images"])
def test_predicted_labels_are_a_layer_with_the_same_numbers(tmp_path, shape):
    exact_network(tmp_path / "ck")
    np.save(tmp_path / "in.npy", image_of(shape)[..., None] if len(shape) == 2 else image_of((*shape, 1)))
    for name in ("out.tif", "out.npy"):
        command = ["predict", str(tmp_path / "ck"), str(tmp_path / "in.npy"), "-o", str(tmp_path / name)]
        assert main([*command, "--output", "objects", *SETTINGS]) == 0
    labels = np.load(tmp_path / "out.npy")
    assert labels.max() > 5
    layer = opened(tmp_path / "out.tif")
    np.testing.assert_array_equal(np.asarray(layer.data), labels)
    place = tuple(int(i) for i in np.argwhere(labels == 5)[0])
    assert layer.get_value(place) == 5
    colours = {tuple(layer.get_color(number)) for number in (1, 2, 3)}
    assert len(colours) == 3  # neighbours differ
    assert layer.get_color(0) is None or layer.get_color(0)[-1] == 0  # the background is transparent


@pytest.mark.parametrize("factor", [1, 70000], ids=["16 bits", "32 bits"])
def test_a_volume(tmp_path, factor):
    blocks = np.kron(np.arange(8).reshape(2, 2, 2) % 5, np.ones((3, 5, 6)))
    labels = objects_of((blocks > 0).astype(float), dims=3)[0].astype(np.uint32) * factor
    write_labels(tmp_path / "o.tif", [page(labels)])
    layer = opened(tmp_path / "o.tif")
    assert layer.data.dtype == (np.uint16 if factor == 1 else np.uint32)
    np.testing.assert_array_equal(np.asarray(layer.data), labels)
