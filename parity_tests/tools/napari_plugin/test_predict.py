"""Classes, objects and probabilities of a layer, tile by tile."""

import threading

import numpy as np
import pytest

from unet_data import measure_objects, objects_of, predict_image
from unet_data.inference.output import Output
from unet_export import OnnxRuntime, emit_onnx, onnx_bytes
from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors
from unet_tools.arguments.runtimes import OpenNetwork
from unet_tools.napari_plugin.layers import LayerImages
from unet_tools.napari_plugin.predict import predict_layer
from unet_tools.napari_plugin.work import Cancelled

from .layer import brightness, layer, ran

SPOTS = np.zeros((3, 24, 20), np.uint8)
SPOTS[0, 3:8, 3:8] = SPOTS[0, 14:20, 10:16] = SPOTS[2, 5:11, 5:11] = 255


def test_classes_of_every_plane_with_names_place_and_shares():
    images = LayerImages((layer(SPOTS, scale=(2.0, 0.5, 0.5)),), 2)
    steps, found = ran(predict_layer(brightness(), images))
    [(labels, arguments, kind)] = found.layers
    assert kind == "labels"
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, SPOTS // 255)
    assert arguments["name"] == "em classes"
    assert arguments["scale"] == (2.0, 0.5, 0.5)
    assert arguments["features"] == {"index": [0, 1], "class": ["dark", "bright"]}
    assert arguments["metadata"] == {"unet_classes": {0: "dark", 1: "bright"}}
    assert [step.done for step in steps] == [0, 1, 2, 3]
    assert {step.total for step in steps} == {3}
    assert found.summary == f"dark {1 - 97 / 1440:.1%}, bright {97 / 1440:.1%}"


@pytest.mark.parametrize("name", ["paper", "same"])
def test_the_labels_are_those_of_every_other_way(name):
    config = preset(name, widths=(2, 4), out_channels=3)
    checkpoint = Checkpoint(config, random_tensors(config.graph, 0), DataSpec((0.4,), (0.2,)))
    runtime = OnnxRuntime(onnx_bytes(emit_onnx(config, checkpoint.tensors, checkpoint.data)))
    image = np.random.default_rng(0).integers(0, 255, (41, 53), np.uint8)
    _, found = ran(predict_layer(OpenNetwork(runtime, checkpoint.data), LayerImages((layer(image),), 2)))
    logits = predict_image(runtime.run, image[..., None], config, checkpoint.data)
    assert np.array_equal(found.layers[0][0], logits.argmax(-1))
    assert len(np.unique(found.layers[0][0])) > 1


def test_objects_are_numbered_over_all_planes_and_measured():
    _, found = ran(predict_layer(brightness(), LayerImages((layer(SPOTS),), 2), "objects"))
    [(labels, arguments, kind)] = found.layers
    assert (kind, found.summary, labels.dtype) == ("labels", "3 objects", np.uint32)
    assert [np.unique(plane).tolist() for plane in labels] == [[0, 1, 2], [0], [0, 3]]
    features = arguments["features"]
    assert features["index"].tolist() == [1, 2, 3]
    assert features["area"].tolist() == [25, 36, 36]
    assert features["class"].tolist() == ["bright"] * 3
    expected = measure_objects(labels[2] // 3, SPOTS[2][..., None], 1)
    assert all(features[key][2] == value[0] for key, value in expected.items() if key != "object")
    p = Output("objects", "uint8").of(brightness().run(SPOTS[:1, ..., None] / 255))[0]
    assert np.array_equal(objects_of(p)[0], labels[0])


@pytest.mark.parametrize("kind", ["classes", "probabilities", "objects"])
def test_a_predicted_distance_is_no_class_and_parts_objects(kind):
    spots = np.full((24, 20), 130, np.uint8)
    spots[2:9, 3:9] = spots[12:20, 3:9] = 255
    images = LayerImages((layer(spots),), 2)
    plain, found = (ran(predict_layer(brightness(distance_head=head), images, kind))[1] for head in (False, True))
    if kind == "objects":
        assert (plain.summary, found.summary) == ("1 objects", "2 objects")
    else:
        assert np.array_equal(plain.layers[0][0], found.layers[0][0])


def test_no_object_at_all():
    _, found = ran(predict_layer(brightness(), LayerImages((layer(SPOTS * 0),), 2), "objects"))
    assert found.summary == "0 objects"
    assert found.layers[0][1]["features"]["index"].tolist() == []


def test_probabilities_of_class_1_or_of_each():
    _, found = ran(predict_layer(brightness(), LayerImages((layer(SPOTS[0]),), 2), "probabilities"))
    [(values, arguments, kind)] = found.layers
    assert (kind, arguments["name"], arguments["contrast_limits"]) == ("image", "em probabilities: bright", (0.0, 1.0))
    assert np.allclose(values, SPOTS[0] / 255, atol=1e-6)
    masks = brightness(DataSpec(class_names=("dark", "bright"), overlapping=True))
    _, each = ran(predict_layer(masks, LayerImages((layer(SPOTS[0]),), 2), "probabilities"))
    assert [arguments["name"] for _, arguments, _ in each.layers] == [
        "em probabilities: dark",
        "em probabilities: bright",
    ]


def test_classes_that_overlap_are_a_layer_each():
    network = brightness(DataSpec(class_names=("dark", "bright"), overlapping=True))
    _, found = ran(predict_layer(network, LayerImages((layer(SPOTS[0]),), 2)))
    assert [arguments["name"] for _, arguments, _ in found.layers] == ["em classes: dark", "em classes: bright"]
    assert np.array_equal(found.layers[0][0], (SPOTS[0] == 0) * 1)
    assert np.array_equal(found.layers[1][0], (SPOTS[0] > 0) * 2)
    with pytest.raises(InputError, match="overlap"):
        ran(predict_layer(network, LayerImages((layer(SPOTS[0]),), 2), "objects"))


def test_a_volume():
    _, found = ran(predict_layer(brightness(spatial_dims=3), LayerImages((layer(SPOTS),), 3)))
    assert np.array_equal(found.layers[0][0], SPOTS // 255)


def test_nothing_is_computed_after_it_is_cancelled():
    cancel, network = threading.Event(), brightness()
    computed = []
    network.runtime.run = lambda images: computed.append(1) or np.zeros((*images.shape[:-1], 2), np.float32)
    task = predict_layer(network, LayerImages((layer(SPOTS),), 2), cancel=cancel)
    assert (next(task).done, next(task).done, len(computed)) == (0, 1, 1)
    cancel.set()
    with pytest.raises(Cancelled):
        next(task)
    assert len(computed) == 1


def test_images_of_another_unit_are_reported_once():
    network = brightness(DataSpec((0.5,), (0.2,), ("dark", "bright")))
    _, found = ran(predict_layer(network, LayerImages((layer(SPOTS.astype(np.float32)),), 2)))
    [line] = found.warnings
    assert line.startswith("em: values differ from those of the training images")


def test_a_layer_of_other_pixels_is_resampled_and_its_result_has_the_layers_pixels():
    """Spots in finer pixels; without a unit, the layer is used as it is, which is said."""
    fine = SPOTS.repeat(2, 1).repeat(2, 2)
    data = DataSpec(class_names=("dark", "bright"), spacing=(1.0, 1.0), spacing_unit="µm")
    images = LayerImages((layer(fine, scale=(3.0, 0.5, 0.5), units=("second", "micrometer", "micrometer")),), 2)
    steps, found = ran(predict_layer(brightness(data), images))
    assert "24x20" in steps[0].text
    assert found.layers[0][0].shape == fine.shape
    assert (found.layers[0][0] == fine // 255).mean() > 0.98
    assert not found.warnings
    images = LayerImages((layer(fine, scale=(3.0, 0.5, 0.5), units=("second", "pixel", "pixel")),), 2)
    _, found = ran(predict_layer(brightness(data), images))
    assert np.array_equal(found.layers[0][0], fine // 255)
    assert found.warnings == [
        "em: not resampled, since no pixel size is stated; the network expects pixels of 1 x 1 µm"
    ]
