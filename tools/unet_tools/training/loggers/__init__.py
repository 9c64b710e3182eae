"""Loggers of a training run, by name: TensorBoard, MLflow, Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from unet_data import Dataset
from unet_jax import TrainSettings
from unet_spec import NetworkConfig

from .base import Logger

LoggerName = Literal["tensorboard", "mlflow", "wandb"]


def open_logger(name: LoggerName, out: Path, validation: Dataset, about: Mapping[str, Any], resume: bool) -> Logger:
    """The logger with this name, a context manager.

    Args:
        name: name of the logger.
        out: the run's folder, which need not exist yet.
        validation: its first image is shown after each validation.
        about: settings of the run, shown with its curves.
        resume: whether the run continues an earlier one and its curves.

    Raises:
        ModuleNotFoundError: the logger's package is not installed.
    """
    if name == "tensorboard":
        from .tensorboard import TensorBoard as Chosen
    elif name == "mlflow":
        from .mlflow import MLflow as Chosen
    else:
        from .wandb import WeightsAndBiases as Chosen
    return Chosen(out, validation, about, resume)


def settings_to_log(config: NetworkConfig, settings: TrainSettings) -> dict[str, Any]:
    """The settings of a run and of its network, by name, for a logger."""
    values = settings.to_dict()
    nested = {name: value for name, value in values.items() if isinstance(value, dict)}
    flat = {name: value for name, value in values.items() if name not in nested}
    nested["network"] = config.to_dict()
    return flat | {f"{group}.{name}": value for group, each in nested.items() for name, value in each.items()}
