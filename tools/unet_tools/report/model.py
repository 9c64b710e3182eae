"""The content of a report, and its JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_spec import InputError

from ..console import plain

if TYPE_CHECKING:
    from .objects import ObjectPictures


@dataclass(frozen=True, eq=False)
class Example:
    """One image and the network's prediction; for a volume, a slice.

    Attributes:
        name: title of the picture.
        image: (H, W) or (H, W, 3) uint8.
        label: (H, W) integers, class indices; negative for pixels without a label. None: no label.
        prediction: (H, W) integers, class indices.
        probability: (H, W) floats, probability of class 1, in 0..1. None: not shown.
        rank: rank of the image, such as "worst"; "": none.

    Raises InputError for other shapes and dtypes.
    """

    name: str
    image: np.ndarray
    label: np.ndarray | None
    prediction: np.ndarray
    probability: np.ndarray | None = None
    rank: str = ""

    def __post_init__(self) -> None:
        image = self.image
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)) or not image.size:
            raise InputError(
                f"example {self.name!r}: the image is {image.dtype} {image.shape}; give uint8 (H, W) or (H, W, 3)"
            )
        for name, kinds in (("label", "biu"), ("prediction", "biu"), ("probability", "f")):
            array = getattr(self, name)
            if array is not None and (array.shape != image.shape[:2] or array.dtype.kind not in kinds):
                kind = "floats" if kinds == "f" else "integers"
                raise InputError(
                    f"example {self.name!r}: the {name} is {array.dtype} {array.shape}; give {kind} {image.shape[:2]}"
                )

    @property
    def wrong(self) -> np.ndarray | None:
        """(H, W) bool: labelled pixels whose prediction is another class. None without a label."""
        if self.label is None:
            return None
        return (self.label >= 0) & (self.label.astype(np.int64) != self.prediction.astype(np.int64))

    @property
    def error(self) -> float | None:
        """Share of labelled pixels that are wrong, 0..1; NaN if no pixel is labelled. None without a label."""
        wrong = self.wrong
        if wrong is None or self.label is None:
            return None
        labelled = int((self.label >= 0).sum())
        return int(wrong.sum()) / labelled if labelled else math.nan


@dataclass(frozen=True, eq=False)
class Report:
    """The content of a report. Empty parts are left out of the page.

    Attributes:
        title: title of the page; plain text, like every string here.
        command: the command line, for repeating the run.
        facts: result of `unet_spec.summary.facts`: layers, parameters, MACs, margin, crops, receptive field, grid.
        log: training records in order: {"step", "loss", "learning_rate", "steps_per_second"} and, for validations,
            {"step", "pixel_accuracy", "iou", "dice", "validation_loss"}, optionally "v_rand".
        scores: on validation data, 0..1: "pixel_accuracy", "iou", "dice", ...; "baseline_pixel_accuracy" is the share
            of the most frequent class, the pixel accuracy of predicting it everywhere.
        verdict: lines of the verdict on the training run, the most important one first.
        classes: scores of each class on validation data: name, iou, dice, share (of the labelled pixels), predicted
            (share).
        examples: images to show; report.png shows the first one.
        objects: outlines of the objects, if labels number objects; None: not shown.
        parity: one per comparison: runtime, dtype, compared_with; worst_relative and rms_relative (relative to the
            reference's largest logit); label_agreement (0..1); bound (on worst_relative); ok (True, False, or None:
            not run); note.
        tiling: image_size, canvas and tile (pixels per axis), tiles (their number), bound, and per runtime
            worst_deviation (of the stitched from the whole-image result) and seconds: {runtime: number}.
        settings: settings of the training, by name.
        engine: backend, version, precision, compute_capabilities, profile, bytes, seconds, dtypes, note, or other
            entries.
        seconds: duration of each stage, in order.
        versions: versions of the libraries in use.
        hardware: the hardware of the run.
        class_names: names of class 0, 1, ...; empty: classes are named by number.
    """

    title: str
    command: str
    facts: dict[str, Any]
    log: list[dict[str, Any]] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    verdict: list[str] = field(default_factory=list)
    classes: list[dict[str, Any]] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    objects: ObjectPictures | None = None
    parity: list[dict[str, Any]] = field(default_factory=list)
    tiling: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    hardware: str = ""
    class_names: tuple[str, ...] = ()

    @property
    def passed(self) -> bool | None:
        """Whether every parity check that ran passed. None: none ran."""
        ran = [row["ok"] for row in self.parity if row.get("ok") is not None]
        return all(ran) if ran else None

    def to_dict(self) -> dict[str, Any]:
        """The content for strict JSON: null for NaN and infinity; of an example, only name, shape and share of wrong
        pixels."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("examples", "objects")}
        examples = [{"name": e.name, "shape": e.image.shape, "error": e.error} for e in self.examples]
        objects = self.objects.to_dict() if self.objects else None
        return plain({"schema": 1, **values, "passed": self.passed, "examples": examples, "objects": objects})
