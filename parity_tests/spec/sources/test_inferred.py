"""The config of a network that is inferred from nothing but the names and shapes of its tensors there."""

import numpy as np
import pytest

from unet_spec import InputError, random_tensors
from unet_spec.families.attention_unet import AttentionUNetConfig
from unet_spec.families.monai_unet import MonaiUNetConfig
from unet_spec.families.resnet_unet import ResNetUNetConfig
from unet_spec.families.staged_unet import StagedUNetConfig
from unet_spec.sources import export_tensors, import_tensors, recognise

BASIC = StagedUNetConfig(
    in_channels=2, out_channels=3, widths=(2, 3, 4, 5, 6), decoder_widths=(7, 6, 5, 8), up_widths=(3, 4, 5, 2),
    downsampling="max", first="skip", slope=0.1,
)  # fmt: skip
DYN = StagedUNetConfig(
    in_channels=2, out_channels=3, widths=(2, 3, 4), kernels=((3, 1), (3, 3), (1, 3)),
    strides=((1, 1), (1, 2), (2, 1)), depths=(2, 2, 2), decoder_kernels=((3, 3), (3, 1)), conv_bias=False,
    up_bias=False,
)  # fmt: skip
DYN_3D = DYN.replace(
    spatial_dims=3, kernels=((1, 3, 3), (3, 3, 3), (3, 3, 1)), strides=((1, 1, 1), (1, 2, 2), (2, 2, 1)),
    decoder_kernels=((3, 3, 3), (1, 3, 3)),
)  # fmt: skip
UNET = MonaiUNetConfig(in_channels=2, out_channels=3, widths=(2, 3, 4), strides=(2, 2))
KERAS = StagedUNetConfig(
    in_channels=2, out_channels=3, widths=(2, 3, 4), downsampling="max", upsampling="nearest", first="skip",
    norm="none", activation="relu",
)  # fmt: skip
CASES = [
    ("monai-basicunet", BASIC),
    ("monai-basicunet", BASIC.replace(norm="batch", spatial_dims=3, in_channels=1, out_channels=2)),
    ("monai-basicunet", BASIC.replace(conv_bias=False)),
    ("monai-basicunet", BASIC.replace(up_bias=False)),
    ("monai-dynunet", DYN),
    ("monai-dynunet", DYN.replace(up_bias=True, norm="batch", sides=1)),
    ("monai-dynunet", DYN_3D),
    ("monai-dynunet", DYN_3D.replace(residual="stride", depths=(1, 1, 1))),
    ("monai-attentionunet", AttentionUNetConfig(in_channels=2, out_channels=3, widths=(4, 6))),
    ("monai-attentionunet", AttentionUNetConfig(widths=(4, 6, 8, 10), spatial_dims=3)),
    ("monai-unet", UNET),
    ("monai-unet", UNET.replace(spatial_dims=3, bias=False)),
    ("monai-unet", UNET.replace(units=0, norm="affine", activation="relu")),
    ("monai-unet", UNET.replace(units=1, norm="batch", kernel=5)),
    ("monai-unet", UNET.replace(units=3, norm="affine", up_kernel=5)),
    ("monai-unet", UNET.replace(widths=(2, 3, 4, 5, 6), strides=(2, 2, 2, 2), units=0, bias=False)),
    ("keras", KERAS),
    ("keras", KERAS.replace(last_width=2)),
    ("keras", KERAS.replace(widths=(2, 5, 3, 4), in_channels=1, out_channels=1)),
    ("smp", ResNetUNetConfig(width=2, depths=(1, 2, 1, 3), decoder=(6, 5, 4, 3, 2), in_channels=1, out_channels=2)),
    ("smp", ResNetUNetConfig(block="bottleneck", width=2, depths=(2, 1, 1, 1), decoder=(2, 3, 4, 5, 6))),
]


@pytest.mark.parametrize(("source", "config"), CASES, ids=[f"{source}-{n}" for n, (source, _) in enumerate(CASES)])
def test_a_network_is_known_by_its_tensors(source, config):
    tensors = random_tensors(config.graph, 0, np.float32)
    theirs = export_tensors(config, tensors, source)
    assert recognise(theirs, "w") == source
    found = import_tensors(source, theirs, {}, "w")
    assert found.config == config
    assert found.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found.tensors[name], tensor)


def refusal(source, config, change, metadata=None):
    theirs = {k: np.array(t) for k, t in export_tensors(config, random_tensors(config.graph, 0), source).items()}
    change(theirs)
    with pytest.raises(InputError) as printed:
        import_tensors(source, theirs, metadata or {}, "w")
    assert "\n" not in str(printed.value)
    return str(printed.value)


def keras_layers(keras3=False, first="skip"):
    """The description that Keras 2 or 3 stores with KERAS, without what nobody reads."""

    def inbound(*names):
        if keras3:
            return [
                {"args": [[{"class_name": "__keras_tensor__", "config": {"keras_history": [n, 0, 0]}} for n in names]]}
            ]
        return [[[n, 0, 0, {}] for n in names]]

    def conv(name, size, activation="relu"):
        settings = {"kernel_size": [size, size], "strides": [1, 1], "dilation_rate": [1, 1], "padding": "same"}
        return {"class_name": "Conv2D", "config": {"name": name, "activation": activation, **settings}}

    layers = [{"class_name": "InputLayer", "config": {"name": "input"}}]
    layers += [
        conv("c0", 3),
        conv("c1", 3),
        {"class_name": "MaxPooling2D", "config": {"name": "p", "pool_size": [2, 2]}},
    ]
    layers += [{"class_name": "Dropout", "config": {"name": "d"}}]
    layers += [{"class_name": "UpSampling2D", "config": {"name": "u", "size": [2, 2], "interpolation": "nearest"}}]
    order = ("c1", "c2") if first == "skip" else ("c2", "c1")
    layers += [conv("c2", 2), {"class_name": "Concatenate", "config": {"name": "j"}, "inbound_nodes": inbound(*order)}]
    layers += [conv("c3", 3), conv("c4", 1, "sigmoid")]
    return {"config": {"layers": layers}}


@pytest.mark.parametrize("keras3", [False, True])
@pytest.mark.parametrize("first", ["skip", "up"])
def test_the_order_of_a_keras_concatenation_is_read_from_its_description(keras3, first):
    theirs = export_tensors(KERAS, random_tensors(KERAS.graph, 0), "keras")
    found = import_tensors("keras", theirs, {"model_config": keras_layers(keras3, first)}, "w")
    assert found.config == KERAS.replace(first=first)


@pytest.mark.parametrize(
    ("name", "kind", "change"),
    [
        ("c1", "Conv2D", {"padding": "valid"}),
        ("c0", "Conv2D", {"strides": [2, 2]}),
        ("c0", "Conv2D", {"strides": [1, 2]}),
        ("c0", "Conv2D", {"dilation_rate": [2, 2]}),
        ("c0", "Conv2D", {"activation": "elu"}),
        ("u", "UpSampling2D", {"size": [3, 3]}),
        ("u", "UpSampling2D", {"size": [2, 1]}),
        ("u", "UpSampling2D", {"interpolation": "bilinear"}),
        ("p", "MaxPooling2D", {"pool_size": [3, 3]}),
        ("p", "MaxPooling2D", {"pool_size": [2, 1]}),
        ("d", "BatchNormalization", {}),
    ],
)
def test_a_keras_layer_that_does_not_belong_is_named(name, kind, change):
    described = keras_layers()
    [layer] = [each for each in described["config"]["layers"] if each["config"]["name"] == name]
    layer["class_name"] = kind
    layer["config"] |= change
    words = refusal("keras", KERAS, lambda _: None, {"model_config": described})
    assert f"the layer {name} ({kind}) does not belong to this U-Net" in words


def test_keras_layers_that_may_differ_are_read():
    theirs = export_tensors(KERAS, random_tensors(KERAS.graph, 0), "keras")
    described = keras_layers()
    by_name = {layer["config"]["name"]: layer["config"] for layer in described["config"]["layers"]}
    by_name["c4"] |= {"padding": "valid", "activation": "softmax"}  # 1x1, and the last
    del by_name["c0"]["dilation_rate"], by_name["u"]["interpolation"]  # of older versions
    assert import_tensors("keras", theirs, {"model_config": described}, "w").config == KERAS
    both = keras_layers()["config"]["layers"]
    more = next(layer for layer in keras_layers(first="up")["config"]["layers"] if layer["class_name"] == "Concatenate")
    more["config"]["name"] = "j2"
    words = refusal("keras", KERAS, lambda _: None, {"model_config": {"config": {"layers": [*both, more]}}})
    assert "the concatenations are not all [skip, upsampled] or all [upsampled, skip]" in words
    words = refusal("keras", KERAS, lambda _: None, {"model_config": {"config": {}}})
    assert "its description of the network cannot be read (KeyError('layers'))" in words


def test_kernels_that_are_no_such_keras_network_are_refused():
    words = refusal(
        "keras", KERAS, lambda t: t.pop(max((k for k in t if k.endswith("kernel")), key=lambda k: int(k.split(".")[0])))
    )
    assert "12 convolutions; this U-Net has 5 n + 3, or 5 n + 4" in words

    def three(t):
        for name, kernel in t.items():
            if kernel.ndim == 4 and kernel.shape[:2] == (2, 2):
                t[name] = np.zeros((3, 3, *kernel.shape[2:]), np.float32)

    assert "the convolutions after the upsampling are not 2x2" in refusal("keras", KERAS, three)


@pytest.mark.parametrize("source", ["monai-basicunet", "monai-dynunet"])
def test_a_norm_without_a_scale_is_not_guessed(source):
    def without(t):
        for name in [n for n in t if ".adn.N." in n or ".norm" in n]:
            del t[name]

    words = refusal(source, {"monai-basicunet": BASIC, "monai-dynunet": DYN}[source], without)
    assert "only batch norm and instance norm with a scale are supported" in words


def test_a_kernel_that_is_padded_differently_in_monai_is_refused():
    config = DYN.replace(strides=((1, 1), (1, 3), (2, 1)))
    words = r"a kernel of \(3, 3\) with a stride of \(1, 3\) is padded differently in MONAI"
    with pytest.raises(InputError, match=words):
        export_tensors(config, random_tensors(config.graph, 0), "monai-dynunet")
