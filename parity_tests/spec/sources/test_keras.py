"""The common Keras U-Net: what its kernels and its description say, and every layer that does not belong to it."""

import copy

import pytest

from unet_spec import InputError
from unet_spec.sources.keras import constants, infer
from unet_spec.sources.shapes import Shapes

WIDTHS = (4, 6, 9)


def kernels(last_width=2, channels=3, classes=5):
    """Shapes (h, w, in, out) of a U-Net of three levels, in the order of its layers."""
    sizes = [(3, 3, before, after) for before, after in zip((channels, *WIDTHS), WIDTHS, strict=False)]
    found = [shape for h, w, i, o in sizes for shape in ((h, w, i, o), (h, w, o, o))]
    for width, below in zip(WIDTHS[-2::-1], WIDTHS[:0:-1], strict=True):
        found += [(2, 2, below, width), (3, 3, 2 * width, width), (3, 3, width, width)]
    found += [(3, 3, WIDTHS[0], last_width)] if last_width else []
    return [*found, (1, 1, last_width or WIDTHS[0], classes)]


def shapes(found):
    return Shapes({f"{index}.kernel": shape for index, shape in enumerate(found)}, "unet.h5")


def conv(name, **changes):
    config = {"name": name, "padding": "same", "kernel_size": [3, 3], "strides": [1, 1], "activation": "relu"}
    return {"class_name": "Conv2D", "config": config | changes, "inbound_nodes": []}


def layer(kind, name, inputs=(), **config):
    nodes = [[[each, 0, 0, {}] for each in inputs]]
    return {"class_name": kind, "config": {"name": name} | config, "inbound_nodes": nodes}


MODEL = {
    "config": {
        "layers": [
            layer("InputLayer", "image"),
            conv("skip"),
            layer("Dropout", "drop"),
            layer("MaxPooling2D", "pool", pool_size=[2, 2]),
            layer("UpSampling2D", "double", size=[2, 2], interpolation="nearest"),
            conv("up", kernel_size=[2, 2]),
            layer("Concatenate", "both", ("skip", "up")),
            conv("head", kernel_size=[1, 1], padding="valid", activation="sigmoid"),
        ]
    }
}


@pytest.mark.parametrize("last_width", [0, 2])
def test_sizes_follow_from_the_kernels(last_width):
    config = infer(shapes(kernels(last_width)), {})
    assert (config.in_channels, config.out_channels, config.widths) == (3, 5, WIDTHS)
    assert (config.downsampling, config.upsampling, config.first) == ("max", "nearest", "skip")
    assert (config.norm, config.activation, config.last_width) == ("none", "relu", last_width)
    assert constants(config) == {"up": 6, "end": 12, "extra": last_width // 2}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (kernels()[:-2], r"12 convolutions; this U-Net has 5 n \+ 3, or 5 n \+ 4"),
        (kernels()[:3], "3 convolutions"),
        ([*kernels()[:6], (3, 3, 9, 6), *kernels()[7:]], "the convolutions after the upsampling are not 2x2"),
        ([*kernels()[:9], (2, 1, 6, 4), *kernels()[10:]], "the convolutions after the upsampling are not 2x2"),
        ([*kernels()[:2], (3, 3, 4), *kernels()[3:]], r"2.kernel has shape \(3, 3, 4\); it must have 4 axes"),
    ],
)
def test_other_kernels_are_refused(found, words):
    with pytest.raises(InputError, match=rf"^unet.h5: .*{words}"):
        infer(shapes(found), {})


def described(change=None):
    model = copy.deepcopy(MODEL)
    if change:
        change({each["config"]["name"]: each for each in model["config"]["layers"]})
    return infer(shapes(kernels()), {"model_config": model})


def test_the_order_of_a_concatenation_is_read_from_the_description():
    assert described().first == "skip"

    def turned(layers):
        layers["both"]["inbound_nodes"][0].reverse()

    assert described(turned).first == "up"

    def of_keras_3(layers):
        inputs = [{"config": {"keras_history": [name, 0, 0]}} for name in ("up", "skip")]
        layers["both"]["inbound_nodes"] = [{"args": [inputs]}]

    assert described(of_keras_3).first == "up"


@pytest.mark.parametrize(
    ("name", "changes", "fits"),
    [
        ("skip", {"padding": "valid"}, False),
        ("skip", {"padding": "valid", "kernel_size": [1, 1]}, True),
        ("skip", {"strides": [2, 2]}, False),
        ("skip", {"strides": [1, 2]}, False),
        ("skip", {"dilation_rate": [2, 2]}, False),
        ("skip", {"dilation_rate": [1, 1]}, True),
        ("skip", {"activation": "elu"}, False),
        ("head", {"activation": "softmax"}, True),  # the last one
        ("double", {"size": [3, 3]}, False),
        ("double", {"size": [2, 4]}, False),
        ("double", {"interpolation": "bilinear"}, False),
        ("pool", {"pool_size": [3, 3]}, False),
        ("pool", {"pool_size": [2, 3]}, False),
    ],
)
def test_a_layer_of_another_kind_is_named(name, changes, fits):
    def change(layers):
        layers[name]["config"] |= changes

    if fits:
        assert described(change).first == "skip"
        return
    with pytest.raises(InputError, match=rf"the layer {name} \(\w+\) does not belong to this U-Net, which has padding"):
        described(change)


def test_old_files_do_not_name_the_interpolation():
    assert described(lambda layers: layers["double"]["config"].pop("interpolation")).first == "skip"


@pytest.mark.parametrize("kind", ["BatchNormalization", "Conv2DTranspose"])
def test_a_layer_that_this_network_lacks_is_named(kind):
    with pytest.raises(InputError, match=rf"the layer drop \({kind}\) does not belong"):
        described(lambda layers: layers["drop"].update(class_name=kind))


def test_concatenations_of_other_inputs_are_refused():
    for inputs in (("up", "up"), ("skip", "skip"), ("skip", "up", "skip")):
        nodes = [[[each, 0, 0, {}] for each in inputs]]
        with pytest.raises(InputError, match=r"not all \[skip, upsampled\] or all \[upsampled, skip\]"):
            described(lambda layers, nodes=nodes: layers["both"].update(inbound_nodes=nodes))


@pytest.mark.parametrize("model", [{}, {"config": 3}, {"config": {"layers": [{"class_name": "Conv2D"}]}}, []])
def test_a_description_that_cannot_be_read_is_one_line(model):
    with pytest.raises(InputError, match="its description of the network cannot be read"):
        infer(shapes(kernels()), {"model_config": model})
