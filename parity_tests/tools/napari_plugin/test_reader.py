"""A bundle as layers: its golden image and the reference's result."""

import numpy as np
import pytest

from unet_export import BundleSettings, write_bundle
from unet_export.bundle.golden import Golden
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.napari_plugin.reader import NETWORK, bundle_reader, read_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    config = preset("paper", widths=(2, 4), in_channels=2)
    checkpoint = Checkpoint(config, random_tensors(config.graph, 0), DataSpec(class_names=("dark", "bright")))
    return write_bundle(checkpoint, tmp_path_factory.mktemp("napari") / "net", BundleSettings(engines=False))


def test_only_bundles_are_taken(bundle, tmp_path):
    folder = str(bundle.folder)
    assert bundle_reader(folder) is read_bundle
    assert bundle_reader(f"{folder}/manifest.json") is read_bundle
    assert bundle_reader(str(tmp_path)) is None
    assert bundle_reader([folder]) is None


@pytest.mark.parametrize("file", ["", "/manifest.json"])
def test_the_golden_image_and_the_classes_of_the_reference(bundle, file):
    golden = Golden.load(bundle)
    first, second, classes = read_bundle(f"{bundle.folder}{file}")
    assert np.array_equal(first[0], golden.image[..., 0])
    assert np.array_equal(second[0], golden.image[..., 1])
    assert [arguments["name"] for _, arguments, _ in (first, second)] == ["net channel 0", "net channel 1"]
    height, width = golden.image.shape[:2]
    assert np.array_equal(classes[0], golden.logits[0, :height, :width].argmax(-1))
    assert classes[1]["features"]["class"] == ["dark", "bright"]
    assert {arguments["metadata"][NETWORK] for _, arguments, _ in (first, classes)} == {str(bundle.folder)}
