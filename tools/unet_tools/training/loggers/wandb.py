"""The log of a run for Weights & Biases: files in the run's folder, sent to a server only if WANDB_MODE requests it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unet_data import Dataset

from .base import Service

PROJECT = "unet-twins"


class WeightsAndBiases(Service):
    """Writes to OUT/wandb, for `wandb sync`; with WANDB_MODE=online, also to the server. WANDB_PROJECT replaces the
    project name unet-twins. Raises ModuleNotFoundError without wandb."""

    title = "Weights & Biases"

    def __init__(self, out: Path, validation: Dataset, about: Mapping[str, Any] | None = None, resume: bool = False):
        import wandb  # noqa: F401

        super().__init__(out, validation, about, resume)
        self._run: Any = None

    @property
    def place(self) -> str:
        return str(self.out / "wandb")

    def start(self) -> None:
        import wandb

        Path(self.place).mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            dir=str(self.out),
            mode=os.environ.get("WANDB_MODE", "offline"),  # type: ignore[arg-type]
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=self.out.name,
            id=self._identifier(),
            resume="allow",
            config=self.about,
            settings=wandb.Settings(console="off", silent=True, disable_git=True, x_disable_stats=True),
        )

    def _identifier(self) -> str:
        """The identifier of the resumed run, from the end of its folder's name, or a new identifier."""
        earlier = sorted(Path(self.place).glob("*run-*-*")) if self.resume else []
        return earlier[-1].name.rpartition("-")[2] if earlier else uuid.uuid4().hex[:8]

    def send(self, step: int, numbers: Mapping[str, float], overlay: np.ndarray | None) -> None:
        import wandb

        values: dict[str, Any] = dict(numbers)
        if overlay is not None:
            values["validation"] = wandb.Image(overlay)
        self._run.log(values, step=step)

    def finish(self) -> None:
        self._run.finish()
