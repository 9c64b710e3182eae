"""The widget "Segment", and the plugin as napari finds it. Needs napari, a Qt and a display (xvfb-run)."""

import numpy as np
import pytest

pytest.importorskip("napari", reason="napari is not installed; pip install 'unet-twins[napari]' pyqt6")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed")
pytest.importorskip("qtpy.QtWidgets", reason="no Qt is installed; pip install pyqt6", exc_type=ImportError)

from unet_export import BundleSettings, write_bundle
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.napari_plugin.segment import SegmentWidget

from .layer import brightness


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def widget(viewer, qtbot):
    widget = SegmentWidget(viewer)
    qtbot.addWidget(widget)
    return widget


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    config = preset("same", widths=(2, 4))
    folder = tmp_path_factory.mktemp("napari") / "net"
    Checkpoint(config, random_tensors(config.graph, 0), DataSpec(class_names=("dark", "<b>"))).save(folder)
    return folder


def finished(widget, qtbot):
    qtbot.waitUntil(lambda: widget.worker is None, timeout=60_000)


def test_the_manifest_names_what_exists():
    from importlib import import_module

    import npe2

    manifest = npe2.PluginManifest.from_distribution("unet-twins")  # by its entry point
    assert manifest.name == "unet-twins"
    for command in manifest.contributions.commands or ():
        module, _, name = str(command.python_name).partition(":")
        assert callable(getattr(import_module(module), name))


def test_a_layer_becomes_classes_in_colours(widget, viewer, network, qtbot):
    noise = np.random.default_rng(0).integers(0, 255, (2, 40, 30), np.uint8)
    viewer.add_image(noise, name="cells", scale=(3, 0.5, 0.5))
    widget.choose(str(network))
    widget.button.click()
    assert widget.button.text() == "Cancel"
    finished(widget, qtbot)
    labels = viewer.layers["cells classes"]
    assert (labels.data.shape, tuple(labels.scale)) == (noise.shape, (3, 0.5, 0.5))
    assert set(np.unique(labels.data)) <= {0, 1}
    assert labels.features["class"].tolist() == ["dark", "<b>"]
    assert np.allclose(labels.get_color(1)[:3], np.divide((230, 159, 0), 255), atol=0.01)
    assert "&lt;b&gt;" in widget.status.text()
    assert (widget.button.text(), widget.bar.isVisible()) == ("Segment", False)


def test_objects_have_their_measurements_as_features(widget, viewer, monkeypatch, qtbot):
    monkeypatch.setattr("unet_tools.arguments.runtimes.open_network", lambda path: brightness())
    spots = np.zeros((30, 30), np.uint8)
    spots[3:8, 3:8] = spots[20:26, 20:26] = 255
    viewer.add_image(spots, name="spots")
    widget.choose("any/network")
    widget.result.setCurrentText("objects")
    widget.toggle()
    finished(widget, qtbot)
    assert widget.status.text() == "2 objects"
    assert viewer.layers["spots objects"].features["area"].tolist() == [25, 36]


def test_selected_layers_are_channels(widget, viewer, monkeypatch, qtbot):
    monkeypatch.setattr("unet_tools.arguments.runtimes.open_network", lambda path: brightness(in_channels=2))
    viewer.add_image(np.full((20, 20), 255, np.uint8), name="one")
    viewer.add_image(np.full((20, 20), 51, np.uint8), name="two")
    viewer.layers.selection = set(viewer.layers)
    widget.choose("any/network")
    widget.toggle()
    finished(widget, qtbot)
    assert viewer.layers["one classes"].data.min() == 1  # the mean of both is above one half


@pytest.mark.parametrize(
    ("name", "words"), [("", "no network is chosen"), ("no/such", "no/such"), ("nucleus", "nuclei")]
)
def test_what_cannot_be_done_is_one_line(widget, viewer, qtbot, name, words):
    viewer.add_image(np.zeros((20, 20), np.uint8))
    widget.network.setEditText(name)
    widget.toggle()
    finished(widget, qtbot)
    assert words in widget.status.text()
    assert len(widget.status.text().splitlines()) == 1
    assert len(viewer.layers) == 1


def test_a_task_is_cancelled_between_tiles(widget, viewer, monkeypatch, qtbot):
    network, computed = brightness(), []

    def run(images):
        computed.append(1)
        if len(computed) == 2:
            widget._cancel.set()
        return np.zeros((*images.shape[:-1], 2), np.float32)

    network.runtime.run = run
    monkeypatch.setattr("unet_tools.arguments.runtimes.open_network", lambda path: network)
    viewer.add_image(np.zeros((50, 20, 20), np.uint8))
    widget.choose("any/network")
    widget.toggle()
    finished(widget, qtbot)
    assert widget.status.text() == "cancelled"
    assert len(computed) == 2
    assert len(viewer.layers) == 1


def test_a_bundle_that_is_opened_is_chosen(widget, viewer, network, qtbot, tmp_path):
    from unet_tools.napari_plugin.reader import bundle_reader

    bundle = write_bundle(Checkpoint.load(network), tmp_path / "bundle", BundleSettings(engines=False))
    read = bundle_reader(str(bundle.folder))
    widget.add(read(str(bundle.folder)))
    assert [layer.name for layer in viewer.layers] == ["bundle", "bundle reference"]
    assert widget.network.currentText() == str(bundle.folder)
    assert widget.image.value.name == "bundle"
    widget.toggle()
    finished(widget, qtbot)
    assert np.mean(viewer.layers["bundle classes"].data == viewer.layers["bundle reference"].data) > 0.999
