"""The widget "Train on painted labels". Needs napari, a Qt and a display (xvfb-run)."""

import numpy as np
import pytest

pytest.importorskip("napari", reason="napari is not installed; pip install 'unet-twins[napari]' pyqt6")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed")
pytest.importorskip("qtpy.QtWidgets", reason="no Qt is installed; pip install pyqt6", exc_type=ImportError)

from unet_spec import is_checkpoint
from unet_tools.napari_plugin.reader import NETWORK
from unet_tools.napari_plugin.segment import SegmentWidget
from unet_tools.napari_plugin.train import TrainWidget


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


def finished(widget, qtbot):
    qtbot.waitUntil(lambda: widget.worker is None, timeout=240_000)


@pytest.mark.slow
def test_strokes_train_a_network_that_labels_the_layer(viewer, qtbot, tmp_path, monkeypatch):
    monkeypatch.setattr("unet_jax.training.planning.speed.seconds_per_step", lambda *_: 0.025)  # 240 steps anywhere
    bright = np.add.outer(np.arange(40), np.arange(40)) % 20 < 10
    image = np.where(bright, 200, 40).astype(np.uint8)
    viewer.add_image(image, name="stripes", scale=(0.5, 0.5))
    painted = np.zeros((40, 40), np.uint8)
    painted[:8] = np.where(bright[:8], 4, 2)
    viewer.add_labels(painted, name="strokes", scale=(0.5, 0.5))
    segment, train = SegmentWidget(viewer), TrainWidget(viewer, widths=(4, 8))
    for widget in (segment, train):
        qtbot.addWidget(widget)
    train.minutes.setValue(0.1)
    train.folder.setText(str(tmp_path / "run"))
    train.toggle()
    finished(train, qtbot)
    labels = viewer.layers["stripes classes"]
    assert set(np.unique(labels.data)) <= {2, 4}
    assert np.mean((labels.data == 4) == bright) > 0.8
    assert tuple(labels.scale) == (0.5, 0.5)
    assert np.allclose(labels.get_color(4), viewer.layers["strokes"].get_color(4))  # as it was painted
    folder = labels.metadata[NETWORK]
    assert is_checkpoint(tmp_path / "run" / "best")
    assert folder == str(tmp_path / "run" / "best") == segment.network.currentText()

    train.folder.setText(str(tmp_path / "run"))
    train.toggle()
    finished(train, qtbot)
    assert "run" in train.status.text()
    assert len(viewer.layers) == 3  # a folder with a run is refused


def test_what_cannot_train_is_one_line(viewer, qtbot):
    widget = TrainWidget(viewer)
    qtbot.addWidget(widget)
    widget.toggle()
    assert "an image layer and a labels layer are needed" in widget.status.text()
    viewer.add_image(np.zeros((20, 20), np.uint8), name="grey")
    viewer.add_labels(np.zeros((20, 20), np.uint8), name="empty")
    widget.toggle()
    assert "the layer empty has nothing painted" in widget.status.text()
    assert widget.worker is None
