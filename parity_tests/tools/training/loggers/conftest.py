"""Overlays without a network, no server, and a long timeout for busy machines."""

import numpy as np
import pytest

from unet_tools.training.loggers import base


@pytest.fixture
def drawn(monkeypatch):
    picture = np.full((8, 8, 3), 90, np.uint8)
    monkeypatch.setattr("unet_tools.training.loggers.overlay.Overlay.draw", lambda self: picture)
    monkeypatch.setattr(base, "LONGEST_WAIT", 120.0)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
