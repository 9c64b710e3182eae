"""Base class of both widgets: a form, a button that starts and cancels a task, a progress bar, a line of text."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from html import escape
from typing import Any

import napari
from magicgui.widgets import ComboBox, create_widget
from napari.layers import Layer
from napari.qt.threading import thread_worker
from napari.utils.colormaps import DirectLabelColormap
from napari.utils.notifications import show_error, show_warning
from qtpy.QtWidgets import QFormLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from unet_spec import InputError
from unet_spec.untrusted.text import one_line

from .predict import Prediction
from .results import CLASSES, LayerData, colours
from .work import Cancelled, Step


class Panel(QWidget):
    """A form above a button, a progress bar and a line of text. One task runs at a time, in a thread.

    Attributes:
        viewer: napari's viewer.
        form: the layout of the fields.
        button: starts the task, and cancels it while it runs.
        bar, status: progress, and the current action or result of the task.
        worker: the running task, or None.
    """

    def __init__(self, viewer: napari.Viewer, action: str, about: str):
        super().__init__()
        self.viewer, self._action, self._cancel = viewer, action, threading.Event()
        self.worker: Any = None
        self._layer_fields: list[ComboBox] = []
        text = QLabel(about)
        text.setWordWrap(True)
        self.form = QFormLayout()
        self.form.setFieldGrowthPolicy(QFormLayout.AllNonFixedFieldsGrow)
        self.button, self.bar, self.status = QPushButton(action), QProgressBar(), QLabel()
        self.bar.setVisible(False)
        self.status.setWordWrap(True)
        self.button.clicked.connect(self.toggle)
        column = QVBoxLayout()
        column.addWidget(text)
        column.addLayout(self.form)
        for part in (self.button, self.bar, self.status):
            column.addWidget(part)
        column.addStretch()
        self.setLayout(column)
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed, viewer.layers.events.renamed):
            event.connect(self._layers_changed)

    def layer_field(self, label: str, kind: type[Layer], chosen: Layer | None = None) -> ComboBox:
        """Adds a choice of a layer of this kind."""
        field: Any = create_widget(annotation=Layer, widget_type=ComboBox, options={"choices": lambda _: ()})
        field.choices = lambda _: [layer for layer in self.viewer.layers if isinstance(layer, kind)]
        field.native.setToolTip(label)
        self.form.addRow(label, field.native)
        self._layer_fields.append(field)
        field.reset_choices()
        if chosen is not None:
            field.value = chosen
        return field

    def toggle(self) -> None:
        """Starts the task, or cancels the running one."""
        if self.worker is not None:
            self._cancel.set()
            self.button.setEnabled(False)
            self.status.setText("cancelling…")
            return
        self._cancel = threading.Event()
        try:
            task = self.task(self._cancel)
        except InputError as e:
            self._failed(e)
            return
        self._start(task)

    def task(self, cancel: threading.Event) -> Callable[[], Generator[Step, None, Any]]:
        """Returns the task of the button, a function that is run in a thread. Raises InputError if a field is wrong."""
        raise NotImplementedError

    def finished(self, result: Any) -> str:
        """Shows a result, and returns the line of text."""
        raise NotImplementedError

    def add(self, layers: list[LayerData], painted: dict[int | None, Any] | None = None) -> None:
        """Adds layers of results, in the colours of their classes or, if given, of the painted labels."""
        for data, arguments, kind in layers:
            if kind == "labels" and (classes := arguments.get("metadata", {}).get(CLASSES)):
                arguments["colormap"] = DirectLabelColormap(color_dict=colours(list(classes)) | (painted or {}))
            self.viewer.add_layer(Layer.create(data, arguments, kind))

    def _start(self, task: Callable[[], Generator[Step, None, Any]]) -> None:
        self.worker = thread_worker(task, ignore_errors=True)()
        self.worker.yielded.connect(self._show)
        self.worker.returned.connect(self._returned)
        self.worker.errored.connect(self._failed)
        self.worker.finished.connect(self._ended)
        self.button.setText("Cancel")
        self.bar.setRange(0, 0)
        self.bar.setVisible(True)
        self.status.setText("starting…")
        self.worker.start()

    def _show(self, step: Step) -> None:
        if self._cancel.is_set():
            return
        self.bar.setRange(0, step.total if step.done else 0)
        self.bar.setValue(step.done)
        self.status.setText(step.text)

    def _returned(self, result: Any) -> None:
        self.status.setText(self.finished(result))

    def _failed(self, error: Exception) -> None:
        if isinstance(error, Cancelled):
            self.status.setText(str(error) or "cancelled")
            return
        text = one_line(str(error)) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        self.status.setText(text)
        show_error(text)
        if not isinstance(error, InputError):
            raise error

    def _ended(self) -> None:
        self.worker = None
        self.button.setText(self._action)
        self.button.setEnabled(True)
        self.bar.setVisible(False)

    def _layers_changed(self, event: Any = None) -> None:
        for field in self._layer_fields:
            field.reset_choices()

    @staticmethod
    def warn(lines: list[str]) -> None:
        """Shows warnings as napari's notifications."""
        for line in lines:
            show_warning(one_line(line))


def legend(prediction: Prediction, painted: dict[int | None, Any] | None = None) -> str:
    """The summary of a prediction as rich text, with a line and a colour per class; see `Panel.add`."""
    classes = {
        n: c for _, arguments, _ in prediction.layers for n, c in arguments.get("metadata", {}).get(CLASSES, {}).items()
    }
    if not classes:
        return escape(prediction.summary)
    shown, lines = colours(list(classes)) | (painted or {}), []
    for number, name in classes.items():
        red, green, blue = (round(255 * value) for value in shown[number][:3])
        square = f'<span style="color: rgb({red}, {green}, {blue})">&#9632;</span>' if number else "&#9633;"
        lines.append(f"{square} {escape(name)} {prediction.shares.get(name, '')}".rstrip())
    return "<br>".join(lines)
