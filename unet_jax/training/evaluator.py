"""Validates the network during training, and writes its checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from unet_data import IGNORED, Dataset
from unet_data.metrics.evaluate import measure
from unet_data.objects.settings import settings_for

from ..network import Loss, Network
from ..runtime import JaxRuntime
from .objective import loss_function
from .run.selection import AP, OBJECTS, is_best
from .run.train_state_folder import SavedScores
from .settings import TrainSettings


class Evaluator:
    """Writes last/ and, if the network is the best so far, best/.

    Attributes:
        saved: scores of the last and of the best checkpoint.
        model: the network that was validated last.
    """

    def __init__(
        self,
        model: Network,
        settings: TrainSettings,
        select: str,
        validation: Dataset | None,
        out: Path,
        own: Loss | None = None,
    ):
        self._runtime = JaxRuntime(model)  # reused, so that validation compiles once
        # Labels are IGNORED also without the setting, in the parts of an image without data.
        self._loss = own or loss_function(settings.replace(ignore=settings.data.ignore or 0, smoothing=0.0))
        self._select, self._validation, self._out = select, validation, out
        self.saved = SavedScores(measured=0)

    def evaluate(self, params: Any, stats: Any) -> dict[str, float]:
        """Validates a network with these weights and statistics (nnx states of NumPy arrays), and writes its
        checkpoints.

        Returns the scores and "validation_loss", the mean over the images of the loss of their predictions. The loss is
        that of whole images, without augmentation, pixel weights, label smoothing, auxiliary heads or distances. {}
        without validation data.
        """
        self.model = model = nnx.merge(self._runtime.graphdef, *jax.tree.map(jnp.array, (params, stats)))
        scores: dict[str, float] = {}
        if self._validation is not None:
            self._runtime.state = nnx.state(model)
            objects = self._select in OBJECTS
            losses: list[float] = []

            def add_loss(logits: np.ndarray, label: np.ndarray) -> None:
                if (label != IGNORED).any():
                    losses.append(self._loss_of(logits, label))

            separate = settings_for(model.data, model.config) if self._select == AP else None
            run, config, data = self._runtime.run, model.config, model.data
            scores = measure(run, config, data, self._validation, objects, False, add_loss, separate)
            scores |= {"validation_loss": float(np.mean(losses))} if losses else {}
        model.save_pretrained(self._out / "last")
        if is_best(self._select, scores, self.saved.best):
            model.save_pretrained(self._out / "best")
            self.saved = replace(self.saved, best=scores)
        self.saved = replace(self.saved, scores=scores)
        return scores

    def _loss_of(self, logits: np.ndarray, label: np.ndarray) -> float:
        """The loss of one image, computed on the CPU if JAX has that backend, to leave the device's memory to the
        network."""
        try:
            device = jax.local_devices(backend="cpu")[0]
        except RuntimeError:
            device = None
        with jax.default_device(device):
            return float(self._loss(jnp.asarray(logits, jnp.float32)[None], jnp.asarray(label, jnp.int32)[None], None))
