"""The event file of TensorBoard, read back record by record: losses, scores, and the picture of the errors."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest

from unet_data import membranes, most_probable, predict_image, write_stack
from unet_jax import UNet
from unet_jax.runtime import JaxRuntime
from unet_spec import preset
from unet_tools.cli import main
from unet_tools.training.loggers.tensorboard import TensorBoard

CONFIG = preset("paper", widths=(2, 4), dropout=0.0)


def values(folder):
    """(tag, step) to the value of every summary that TensorBoard shows: what begins at a step hides what earlier files
    have from there on. The format: for each record its length (8 bytes), a checksum of 4, the record, a checksum of 4
    (TensorFlow's tf_record.h)."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    found = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack("<Q", content[at : at + 8])
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += length + 16
            if event.session_log.status == SessionLog.START:
                found = {key: value for key, value in found.items() if key[1] < event.step}
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
        board.report({"step": 0, "compiling": "the step"})
        board.report({"step": 0, "compiled": 3.0, "kept": False})
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
    wrong = most_probable(predict_image(JaxRuntime(model).run, image, CONFIG, model.data)) != validation.labels[0]
    assert 0.1 < wrong.mean() < 0.9
    assert (shown[wrong] == (220, 40, 40)).all()
    grey = shown[~wrong]
    assert (grey == grey[:, :1]).all()
    assert np.corrcoef(grey[:, 0], image[..., 0][~wrong])[0, 1] > 0.999


def test_a_resumed_run_hides_what_the_killed_one_wrote_beyond_its_state(tmp_path):
    pytest.importorskip("tensorboardX")
    with TensorBoard(tmp_path, membranes(2, 48, 0)) as board:
        for step in (10, 20, 30):
            board.report({"step": step, "loss": 1.0})
    (path,) = (tmp_path / "tensorboard").iterdir()
    path.rename(path.with_name("events.out.tfevents.1000000000.host"))  # long ago
    with TensorBoard(tmp_path, membranes(2, 48, 0)) as board:
        board.report({"step": 20, "loss": 0.5})
    found = values(tmp_path / "tensorboard")
    assert {key: value.simple_value for key, value in found.items()} == {("loss", 10): 1.0, ("loss", 20): 0.5}


def run(tmp_path):
    made = membranes(2, 40, 0)
    write_stack(tmp_path / "train-volume.tif", np.stack(made.images))
    write_stack(tmp_path / "train-labels.tif", np.stack(made.labels).astype(np.uint8) * 255)
    flags = ["--widths", "2", "4", "--steps", "4", "--tile", "28", "--log-every", "1", "--no-report", "--json"]
    return main(["train", str(tmp_path), "--out", str(tmp_path / "run"), "--log", "tensorboard", *flags])


@pytest.mark.slow
@pytest.mark.parametrize("why", ["No space left on device", "File exists"])
def test_a_disk_that_is_full_ends_only_tensorboard(tmp_path, why, monkeypatch, capsys):
    pytest.importorskip("tensorboardX.record_writer")
    if why == "File exists":
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "tensorboard").write_text("")
    elif Path("/dev/full").exists():
        full = io.BufferedWriter(io.FileIO("/dev/full", "w"))
        monkeypatch.setattr("tensorboardX.record_writer.open_file", lambda path: full)
    else:
        pytest.skip("needs /dev/full, a file that is always full, as Linux has it")
    assert run(tmp_path) == 0
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert printed.endswith(f"tensorboard: {why}; continuing without TensorBoard\n")


def test_a_disk_that_is_full_at_the_end_is_a_note_too(tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorboardX")

    def full(writer):
        writer._writer.close()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tensorboardX.RecordWriter.close", full)
    with TensorBoard(tmp_path, membranes(2, 48, 0)) as board:
        board.report({"step": 1, "loss": 1.0})
    assert capsys.readouterr().err.count("continuing without TensorBoard") == 1
