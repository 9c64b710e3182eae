"""Writes a copy of a checkpoint with calibrated probabilities, fitted on labelled images, into another folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unet_data import Calibration, Dataset
from unet_data.metrics.calibration import MAX_TEMPERATURE, MIN_TEMPERATURE
from unet_spec import Checkpoint, InputError, is_checkpoint
from unet_spec.weights.model_card import CARD, model_card
from unet_spec.weights.temperature import scaled_tensors, with_temperature

from ..console import notes

RECORD = "calibration.json"
"""File in the checkpoint folder with the temperature, the data of the fit, and the measures before and after."""


def check_calibration(checkpoint: Path, out: Path, subset: str, views: bool) -> None:
    """Checks the arguments before anything is computed.

    Args:
        checkpoint: the checkpoint to calibrate.
        out: the folder for the result.
        subset: subset of the data, as in `unet evaluate`.
        views: whether views or samples of an image are averaged.

    Raises:
        InputError: `checkpoint` is not a checkpoint, the folders are the same, views are averaged, or scaling weights
            cannot scale the network's logits.
    """
    if not is_checkpoint(checkpoint):
        raise InputError("--calibrate needs a checkpoint; export its bundle afterwards")
    if views:
        raise InputError("--calibrate cannot be combined with --augment or --samples: leave them out")
    if out.resolve() == checkpoint.resolve():
        raise InputError(f"--calibrate {out} is the checkpoint itself; give another folder")
    config = Checkpoint.load(checkpoint).config
    try:
        scaled_tensors(config.graph, config.architecture, config.logits)
    except InputError as e:
        raise InputError(
            f"{checkpoint}: {e}; unet ensemble {checkpoint} -o FOLDER makes an ensemble with it as the "
            "only member, which can be calibrated"
        ) from None
    if subset != "validation":
        notes.print(
            "warning: fitted to all given images; a temperature is valid only if the network was not "
            "trained on "
            "them (--subset validation)"
        )


def calibrate(checkpoint: Path, out: Path, counted: Calibration, dataset: Dataset) -> dict[str, Any]:
    """Writes the checkpoint with its temperature, a model card and RECORD into `out`; returns the content of RECORD.

    Raises:
        InputError: no pixel counts, or the folder cannot be written.
    """
    temperature, before, after = counted.fitted()
    stored = Checkpoint.load(checkpoint)
    if stored.data.objects is not None:
        notes.print(
            "warning: the object settings were chosen for the probabilities before the calibration: "
            f"unet evaluate {out} DATA --choose-objects chooses new ones"
        )
    record = {"temperature": temperature, "before": before, "after": after}
    record |= {"data": dataset.source, "images": len(dataset), "decisions": len(counted.sample[1])}
    card = model_card(stored.config, stored.data)
    with_temperature(stored, temperature).save(out, {CARD: card, RECORD: json.dumps(record, indent=2) + "\n"})
    return {"calibration": record}


def calibration_lines(out: Path, found: dict[str, Any]) -> list[str]:
    """Lines about the fitted temperature and its effect."""
    record = found["calibration"]
    before, after, temperature = record["before"], record["after"], record["temperature"]
    lines = [
        f"temperature {temperature:.3f}: ECE {before['ece']:.4f} → {after['ece']:.4f}, negative log likelihood "
        f"{before['nll']:.4f} → {after['nll']:.4f} on {record['decisions']:,} pixels of {record['images']} images",
        f"{out}: the checkpoint with calibrated probabilities",
    ]
    if not 1.01 * MIN_TEMPERATURE < temperature < MAX_TEMPERATURE / 1.01:
        lines.append(
            f"warning: {temperature:.3g} is at the end of the search range: there are too few images, or "
            "they are too similar"
        )
    return lines
