"""The widget "Segment": computes classes, objects or probabilities of an image layer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, get_args

import napari
from napari.layers import Image
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QPushButton, QWidget

from unet_spec import InputError, find_network, installed_networks

from .layers import images_for
from .panel import Panel, legend
from .predict import Prediction, ResultKind, predict_layer
from .reader import NETWORK
from .work import Step

ABOUT = (
    "A bundle, a checkpoint folder or the name of an installed network. Large images are "
    "computed in tiles, with the same result as in one piece."
)


class SegmentWidget(Panel):
    """Segments an image layer.

    Attributes:
        network: name or folder of the network.
        image: the layer to segment. For a network with several channels, as many selected layers may be its channels.
        result: "classes", "objects" or "probabilities".
    """

    def __init__(self, napari_viewer: napari.Viewer):
        super().__init__(napari_viewer, "Segment", ABOUT)
        self.network = QComboBox()
        self.network.setEditable(True)
        self.network.setMinimumContentsLength(12)
        browse = QPushButton("…")
        browse.setToolTip("Choose the folder of a bundle or a checkpoint")
        browse.setMaximumWidth(32)
        browse.clicked.connect(self._browse)
        row, holder = QHBoxLayout(), QWidget()
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.network, 1)
        row.addWidget(browse)
        holder.setLayout(row)
        self.network.currentTextChanged.connect(self.network.setToolTip)  # a path may be longer than its field
        self.form.addRow("network", holder)
        self.image = self.layer_field("image", Image)
        self.result = QComboBox()
        self.result.addItems(get_args(ResultKind))
        self.form.addRow("result", self.result)
        self.network.addItems(list(installed_networks()))
        self._layers_changed()

    def task(self, cancel: threading.Event) -> Callable[[], Generator[Step, None, Prediction]]:
        name, layer = self.network.currentText().strip(), self.image.value
        if not name:
            raise InputError("no network is chosen; give a bundle, a checkpoint folder or an installed network")
        if layer is None:
            raise InputError("there is no image layer to segment; open an image first")
        kind: Any = self.result.currentText()
        selected = [each for each in self.viewer.layers if each in self.viewer.layers.selection]
        channels = [each for each in selected if isinstance(each, Image)]

        def run() -> Generator[Step, None, Prediction]:
            from ..arguments.runtimes import open_network

            yield Step(0, 0, f"opening {name}")
            network = open_network(find_network(Path(name)))
            several = layer in channels and 1 < network.config.in_channels == len(channels)
            images = images_for(channels if several else [layer], network)
            return (yield from predict_layer(network, images, kind, cancel))

        return run

    def finished(self, result: Prediction) -> str:
        self.add(result.layers)
        self.warn(result.warnings)
        return legend(result)

    def choose(self, network: str) -> None:
        """Chooses a network, and adds it to the list."""
        if self.network.findText(network) < 0:
            self.network.insertItem(0, network)
        self.network.setCurrentText(network)

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "The folder of a bundle or a checkpoint")
        if folder:
            self.choose(folder)

    def _layers_changed(self, event: Any = None) -> None:
        super()._layers_changed(event)
        for layer in self.viewer.layers if hasattr(self, "network") else ():
            folder = layer.metadata.get(NETWORK)
            if folder and self.network.findText(folder) < 0:
                self.choose(folder)
