"""The widget "Train on painted labels": trains a network on painted strokes, and segments the whole layer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from html import escape
from pathlib import Path
from typing import Any

import napari
from napari.layers import Image, Labels
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QLineEdit

from unet_spec import InputError

from .layers import images_for
from .paint import Trained, painted_dataset, run_folder, train_painted
from .panel import Panel, legend
from .predict import Prediction, predict_layer
from .reader import NETWORK
from .results import class_numbers
from .work import Cancelled, Step

ABOUT = (
    "Paint some pixels of each class on a labels layer: 1 on the background, 2 and so on. Unpainted pixels are "
    "ignored. Network and settings are chosen from the image, this machine and the time."
)


class TrainWidget(Panel):
    """Trains a network on painted labels, and segments the layer with it.

    Attributes:
        image, labels: the layers.
        seen: choice of the image's dimensions: planes or volumes.
        minutes: duration of the training in minutes.
        folder: the run folder; empty: a new one in the cache folder.
    """

    def __init__(self, napari_viewer: napari.Viewer, widths: tuple[int, ...] | None = None):
        super().__init__(napari_viewer, "Train", ABOUT)
        self._widths = widths
        self._painted: dict[int | None, Any] = {}
        self.image = self.layer_field("image", Image)
        self.labels = self.layer_field("painted", Labels)
        self.seen = QComboBox()
        self.seen.addItems(["planes", "volumes"])
        self.minutes = QDoubleSpinBox()
        self.minutes.setRange(0.05, 24 * 60)
        self.minutes.setValue(5)
        self.folder = QLineEdit()
        self.folder.setPlaceholderText("new folder in the cache")
        for label, field in (("as", self.seen), ("minutes", self.minutes), ("run folder", self.folder)):
            self.form.addRow(label, field)

    def task(self, cancel: threading.Event) -> Callable[[], Generator[Step, None, tuple[Trained, Prediction]]]:
        image, labels = self.image.value, self.labels.value
        if image is None or labels is None:
            raise InputError("an image layer and a labels layer are needed; add one with Layers > New labels")
        dataset = painted_dataset(image, labels, 3 if self.seen.currentText() == "volumes" else 2)
        self._painted = {n: labels.get_color(n) for n in class_numbers(dataset.class_names)}
        given = self.folder.text().strip()
        folder = Path(given) if given else run_folder(image.name)
        minutes, widths = self.minutes.value(), self._widths

        def run() -> Generator[Step, None, tuple[Trained, Prediction]]:
            from ..arguments.runtimes import open_network

            try:
                trained = yield from train_painted(dataset, minutes, folder, cancel, widths)
            except Cancelled:
                has_checkpoint = (folder / "last").is_dir()
                raise Cancelled(
                    f"cancelled; the network so far is in {folder / 'last'}" * has_checkpoint or "cancelled"
                ) from None
            network = open_network(trained.folder)
            prediction = yield from predict_layer(network, images_for([image], network), cancel=cancel)
            return trained, prediction

        return run

    def finished(self, result: tuple[Trained, Prediction]) -> str:
        trained, prediction = result
        for _, arguments, _ in prediction.layers:
            arguments["metadata"] = {**arguments.get("metadata", {}), NETWORK: str(trained.folder)}
        self.add(prediction.layers, self._painted)
        self.warn(prediction.warnings)
        what = f"{trained.steps} steps in {trained.seconds:.0f} s. The network, for Segment and unet predict:"
        return f"{legend(prediction, self._painted)}<br>{what}<br>{escape(str(trained.folder))}"
