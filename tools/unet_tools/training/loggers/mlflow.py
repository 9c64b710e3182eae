"""The log of a run for MLflow: a database in the run's folder, or the server in MLFLOW_TRACKING_URI."""

from __future__ import annotations

import logging
import os
import re
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unet_data import Dataset

from .base import Service

EXPERIMENT = "unet-twins"
FOLDER = "unet.folder"
"""Tag with the run's folder, by which a resumed run finds its log."""

LONGEST = 500
"""Maximum number of characters of a parameter's value."""


class MLflow(Service):
    """Writes to OUT/mlflow.db, or to MLFLOW_TRACKING_URI. MLFLOW_EXPERIMENT_NAME replaces the experiment name
    unet-twins. Raises ModuleNotFoundError without mlflow."""

    title = "MLflow"

    def __init__(self, out: Path, validation: Dataset, about: Mapping[str, Any] | None = None, resume: bool = False):
        import mlflow  # noqa: F401

        super().__init__(out, validation, about, resume)
        warnings.filterwarnings("ignore", "The ``noload`` loader", DeprecationWarning)  # from SQLAlchemy in MLflow
        self._client: Any = None
        self._run = ""

    @property
    def place(self) -> str:
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.out.resolve() / 'mlflow.db'}"

    def start(self) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        if self.place.startswith("sqlite:"):
            self.out.mkdir(parents=True, exist_ok=True)
        self._client = MlflowClient(self.place)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        known = self._client.get_experiment_by_name(name)
        own = None if os.environ.get("MLFLOW_TRACKING_URI") else (self.out.resolve() / "mlflow").as_uri()
        experiment = known.experiment_id if known else self._client.create_experiment(name, artifact_location=own)
        folder = str(self.out.resolve())
        runs = self._client.search_runs([experiment]) if self.resume else []
        earlier = [run.info.run_id for run in runs if run.data.tags.get(FOLDER) == folder]
        if earlier:
            self._run = earlier[0]
            self._client.set_terminated(self._run, "RUNNING")
            return
        self._run = self._client.create_run(experiment, run_name=self.out.name, tags={FOLDER: folder}).info.run_id
        values = [Param(_name(key), str(value)[:LONGEST]) for key, value in self.about.items()]
        for first in range(0, len(values), 100):
            self._client.log_batch(self._run, params=values[first : first + 100])

    def send(self, step: int, numbers: Mapping[str, float], overlay: np.ndarray | None) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        values = [Metric(_name(key), float(value), now, step) for key, value in numbers.items()]
        self._client.log_batch(self._run, metrics=values)
        if overlay is not None:
            self._client.log_image(self._run, overlay, key="validation", step=step)

    def finish(self) -> None:
        self._client.set_terminated(self._run)


def _name(text: str) -> str:
    """Replaces characters that MLflow does not accept."""
    return re.sub(r"[^\w\-. /:]", "_", text)
