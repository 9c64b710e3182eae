"""The event file of TensorBoard, read back record by record: losses, scores, and the picture of what is wrong."""

import io
import struct

import numpy as np
import pytest

from unet_data import membranes
from unet_data.predict import labels, predict_image
from unet_jax.runtime import JaxRuntime
from unet_jax.unet import UNet
from unet_spec import preset
from unet_tools.tensorboard import TensorBoard

CONFIG = preset("paper", widths=(2, 4), dropout=0.0)


def values(folder):
    """(tag, step) to the value of every summary. The format: for each record its length (8 bytes), a checksum of 4, the
    record, a checksum of 4 (TensorFlow's tf_record.h)."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.glob("events.out.tfevents.*")
    content, found, at = path.read_bytes(), {}, 0
    while at < len(content):
        (length,) = struct.unpack("<Q", content[at : at + 8])
        event = Event.FromString(content[at + 12 : at + 12 + length])
        at += length + 16
        found |= {(value.tag, event.step): value for value in event.summary.value}
    assert at == len(content)
    return found


def test_the_event_file(tmp_path):
    pytest.importorskip("tensorboardX")
    from PIL import Image

    validation = membranes(2, 48, 0)
    model = UNet(CONFIG, 0)
    model.save_pretrained(tmp_path / "last")
    with TensorBoard(tmp_path, validation) as board:
        board.report({"step": 10, "loss": 0.5, "steps_per_second": 7.0})
        board.report({"step": 20, "loss": 0.25, "steps_per_second": 8.0})
        board.report({"step": 20, "iou": 0.75, "v_rand": 0.875, "pixel_error": 0.125})
    found = values(tmp_path / "tensorboard")
    scalars = {key: value.simple_value for key, value in found.items() if not value.HasField("image")}
    assert scalars == {
        ("loss", 10): 0.5, ("steps_per_second", 10): 7.0, ("loss", 20): 0.25, ("steps_per_second", 20): 8.0,
        ("iou", 20): 0.75, ("v_rand", 20): 0.875, ("pixel_error", 20): 0.125,
    }  # fmt: skip
    shown = np.asarray(Image.open(io.BytesIO(found["validation", 20].image.encoded_image_string)))
    image = validation.images[0]
    wrong = labels(predict_image(JaxRuntime(model).run, image, CONFIG, model.data)) != validation.labels[0]
    assert 0.1 < wrong.mean() < 0.9
    assert (shown[wrong] == (220, 40, 40)).all()
    grey = shown[~wrong]
    assert (grey == grey[:, :1]).all()
    assert np.corrcoef(grey[:, 0], image[..., 0][~wrong])[0, 1] > 0.999
