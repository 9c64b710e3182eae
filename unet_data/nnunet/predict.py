"""Predicts a case with an nnU-Net network in any runtime, from NIfTI to NIfTI."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..inference.network import OpenNetwork
from ..inference.stitch import Run
from ..io.writers import check_not_input
from .case import labels_of, prepare_case, probabilities_of, restore_logits
from .nifti import read_nifti, write_nifti
from .plans import NnunetPlans
from .sliding import SlidingWindow, predict_volume

if TYPE_CHECKING:
    from jaxtyping import Shaped

Kind = Literal["labels", "probabilities"]


@dataclass(frozen=True)
class CaseResult:
    """Result of predicting a case.

    Attributes:
        shape: shape of the result, (z, y, x) or (K, z, y, x).
        seconds, cpu_seconds: time from reading to writing; processor time on all cores.
    """

    shape: tuple[int, ...]
    seconds: float
    cpu_seconds: float


def predict_case(
    runs: Sequence[Run],
    image: Shaped[np.ndarray, "c z y x"],
    spacing: tuple[float, ...],
    plans: NnunetPlans,
    kind: Kind = "labels",
    window: SlidingWindow | None = None,
) -> Shaped[np.ndarray, "*k z y x"]:
    """Predicts an image as nnU-Net does.

    Args:
        runs: one per fold, each from tiles (N, *patch, C) float32 to logits (N, *patch, K).
        image: (C, z, y, x), with the values of the file.
        spacing: millimetres per voxel (z, y, x).
        plans: plans of the network.
        kind: kind of the result.
        window: the sliding window. Default: `plans.window()`.

    Returns:
        Labels (z, y, x) uint8 or uint16, or probabilities (K, z, y, x) float32.

    Raises:
        InputError: as `prepare_case` and `predict_volume`.
    """
    case = prepare_case(image, spacing, plans)
    logits = restore_logits(predict_volume(runs, case.volume, window or plans.window()), case, plans)
    return labels_of(logits, case, plans) if kind == "labels" else probabilities_of(logits, case, plans)


def predict_nifti(
    networks: Sequence[OpenNetwork],
    files: Sequence[Path],
    target: Path,
    plans: NnunetPlans,
    kind: Kind = "labels",
    mirror: bool = True,
) -> CaseResult:
    """Segments a case as nnU-Net does, from NIfTI to NIfTI.

    Args:
        networks: one network per fold.
        files: one file per channel, or one file with the channels along its fourth axis.
        target: .nii or .nii.gz; replaced if it exists.
        plans: plans of the networks.
        kind: kind of the result.
        mirror: average over the flips with which the network was trained; False is 4 (2-D) or 8 (3-D) times as fast.

    Raises:
        InputError: a file cannot be read or written, does not suit the network, or is also the target.
    """
    start, cpu_start = time.perf_counter(), time.process_time()
    check_not_input(target, files)
    image = read_nifti(files, plans.reorient)
    # The batch size of an engine; 1 on a CPU, where larger batches only need more memory.
    batch = min((network.sizes[1][0] for network in networks if network.sizes is not None), default=1)
    runs, window = [network.run for network in networks], plans.window(mirror, batch=batch)
    result = predict_case(runs, image.values, image.spacing, plans, kind, window)
    write_nifti(target, result, image)
    return CaseResult(result.shape, time.perf_counter() - start, time.process_time() - cpu_start)
