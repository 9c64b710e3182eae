"""The common Keras U-Net: infers the network from the kernels' shapes and, if the file has it, its JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..families.staged_unet import StagedUNetConfig
from .shapes import Shapes
from .table import Constants

_LAYERS = ("InputLayer", "Conv2D", "MaxPooling2D", "UpSampling2D", "Concatenate", "Dropout")


def infer(shapes: Shapes, metadata: Mapping[str, Any]) -> StagedUNetConfig:
    """The network. Raises InputError if the convolutions, or the JSON, are those of another network."""
    count = shapes.count("{}.kernel")
    deepest, extra = divmod(count - 3, 5)  # 2 convolutions per stage, 3 per decoder stage, 1 or 2 at the end
    if deepest < 1 or extra not in (0, 1):
        raise shapes.refuse(f"{count} convolutions; this U-Net has 5 n + 3, or 5 n + 4")
    kernels = [shapes.of(f"{i}.kernel", 4) for i in range(count)]
    ups = kernels[2 * deepest + 2 : 5 * deepest + 2 : 3]
    if any(kernel[:2] != (2, 2) for kernel in ups):
        raise shapes.refuse("the convolutions after the upsampling are not 2x2; only that decoder is supported")
    return StagedUNetConfig(
        in_channels=kernels[0][2],
        out_channels=kernels[-1][3],
        widths=tuple(kernel[3] for kernel in kernels[1 : 2 * deepest + 2 : 2]),
        downsampling="max",
        upsampling="nearest",
        first=_first(shapes, metadata.get("model_config")),
        norm="none",
        activation="relu",
        last_width=kernels[-2][3] if extra else 0,
    )


def constants(config: StagedUNetConfig) -> Constants:
    """The numbers in the table's rows."""
    deepest = len(config.widths) - 1
    return {"up": 2 * deepest + 2, "end": 5 * deepest + 2, "extra": int(config.last_width > 0)}


def _first(shapes: Shapes, model: Any) -> Any:
    """The first map in concatenations, "skip" or "up". Raises InputError if a layer does not belong to this U-Net."""
    if model is None:
        return "skip"
    try:
        layers = {layer["config"]["name"]: layer for layer in model["config"]["layers"]}
        _check_layers(shapes, layers)
        orders = {tuple(_is_up(layers, layer)) for layer in layers.values() if layer["class_name"] == "Concatenate"}
    except (KeyError, TypeError, AttributeError, IndexError) as e:
        raise shapes.refuse(f"its description of the network cannot be read ({e!r})") from None
    if orders not in ({(False, True)}, {(True, False)}):
        raise shapes.refuse("the concatenations are not all [skip, upsampled] or all [upsampled, skip]")
    return "up" if orders == {(True, False)} else "skip"


def _check_layers(shapes: Shapes, layers: Mapping[str, Any]) -> None:
    """Raises InputError if a layer differs from those of our network."""
    convs = [name for name, layer in layers.items() if layer["class_name"] == "Conv2D"]
    for name, layer in layers.items():
        kind, config = layer["class_name"], layer["config"]
        fits = kind in _LAYERS
        if kind == "Conv2D":
            padded = config["padding"] == "same" or set(config["kernel_size"]) == {1}
            plain = set(config["strides"]) == set(config.get("dilation_rate", (1,))) == {1}
            fits = padded and plain and (config["activation"] == "relu" or name == convs[-1])
        elif kind == "UpSampling2D":
            fits = set(config["size"]) == {2} and config.get("interpolation", "nearest") == "nearest"
        elif kind == "MaxPooling2D":
            fits = set(config["pool_size"]) == {2}
        if not fits:
            raise shapes.refuse(
                f"the layer {name} ({kind}) does not belong to this U-Net, which has padding 'same', ReLU, and 2x2"
            )


def _is_up(layers: Mapping[str, Any], concatenate: Mapping[str, Any]) -> list[bool]:
    """For each input of a concatenation, whether it is the 2x2 convolution after an upsampling."""
    inputs = [layers[name]["config"] for name in _names(concatenate["inbound_nodes"]) if name in layers]
    return [list(config.get("kernel_size", ())) == [2, 2] for config in inputs]


def _names(node: Any) -> Iterator[str]:
    """The layers of a layer's inputs: Keras 2 has [name, node, tensor, {}], Keras 3 a `keras_history`."""
    if isinstance(node, Mapping):
        if "keras_history" in node:
            yield node["keras_history"][0]
        else:
            for value in node.values():
                yield from _names(value)
    elif isinstance(node, list):
        if node and isinstance(node[0], str):
            yield node[0]
        else:
            for value in node:
                yield from _names(value)
