"""The bundle for the tests: its network, its data, and independently computed logits."""

import numpy as np
import pytest

from unet_spec import PRESETS, Checkpoint, DataSpec, random_tensors

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_data.windows import mirror_window
from unet_spec.tiling.tiles import plan_tiles

CONFIG = PRESETS["paper"].replace(widths=(4, 8), in_channels=2, out_channels=3)
DATA = DataSpec((0.5, 0.25), (0.2, 0.1), ("background", "cell", "border"))


def checkpoint(config=CONFIG, data=DATA) -> Checkpoint:
    return Checkpoint(config, random_tensors(config.graph, 2), data)


def expected(config, data, image, tensors) -> np.ndarray:
    """Independent logits of one image: normalised here, computed as a whole by the float64 reference."""
    top = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
    x = image.astype(np.float64) / top
    x = (x - np.array(data.mean)) / np.array(data.std) if data.mean else x
    plan = plan_tiles(config.geometry, image.shape[:-1])
    canvas = mirror_window(x, [-axis.margin for axis in plan.axes], plan.canvas)[None]
    doubles = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    return config.graph.forward(doubles, canvas)[0][tuple(slice(0, n) for n in image.shape[:-1])]
