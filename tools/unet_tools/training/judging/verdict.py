"""The verdict on a training run, from its log and the scores of its best checkpoint."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unet_data import Measurement
from unet_jax.training.run.selection import LOSS

from .trend import Trend, trend

Judgement = Literal["better", "mixed", "worse", "unmeasured"]

USEFUL = 0.25
"""A network with a pixel accuracy below the baseline is still useful, since it finds rare classes, if its mean IoU
covers at least this part of the distance from the baseline's mean IoU to 1."""

MARGIN = 0.02
"""A score counts as better or worse than the baseline if it differs by more than this part of the distance from it to
1."""

_IN_WORDS = {
    "pixel_accuracy": "pixel accuracy",
    "iou": "mean IoU",
    "dice": "mean Dice",
    "v_rand": "V_Rand",
    "v_info": "V_Info",
    "ap_mean": "mean AP of objects",
    "validation_loss": "validation loss",
}


@dataclass(frozen=True)
class Run:
    """Facts about a run, in addition to its log, for the verdict.

    Attributes:
        data, out: arguments of the command.
        steps: requested number of steps.
        select: the score by which best/ is chosen.
    """

    data: str
    out: Path
    steps: int
    select: str


@dataclass(frozen=True)
class Verdict:
    """The assessment of a training run.

    Attributes:
        judgement: comparison with the baseline, which assigns the most frequent class to every pixel: "better",
            "worse", "mixed" (pixel accuracy and mean IoU disagree), or "unmeasured".
        useful: whether the network is useful for prediction.
        trend: see `unet_tools.training.judging.trend.Trend.direction`.
        complete: whether all steps were taken.
        best_step, last_step: steps of the checkpoints best/ and last/; None without validation.
        never_predicted: names of classes that are present in the labels but never predicted.
        worst_image: name and mean IoU; None without validation.
        lines: the verdict as text.
        next: the recommended next command.
    """

    judgement: Judgement
    useful: bool
    trend: str
    complete: bool
    best_step: int | None
    last_step: int | None
    never_predicted: tuple[str, ...]
    worst_image: tuple[str, float] | None
    lines: tuple[str, ...]
    next: str


def judge(log: Sequence[dict[str, Any]], measured: Measurement | None, run: Run) -> Verdict:
    """The verdict on a run.

    Args:
        log: records as of log.jsonl.
        measured: scores of the best checkpoint on the validation images; None: not measured.
        run: facts about the run.

    Example:
        >>> import numpy as np
        >>> scores = {"pixel_accuracy": 0.6, "iou": 0.375}
        >>> found = Measurement(scores, np.array([[6, 2], [2, 0]]), {"a": 0.4}, ("hole", "cell"))
        >>> verdict = judge([], found, Run("DATA", Path("RUN"), 100, "iou"))
        >>> verdict.judgement, verdict.lines[1]
        ('worse', "worse than calling every pixel 'hole': pixel accuracy 0.600 (0.800), mean IoU 0.375 (0.400)")
    """
    done = max((record["step"] for record in log), default=0)
    how = trend(log)
    judgement, useful, against = _against_baseline(measured)
    best, last, checkpoints = _checkpoints(log, run.select)
    never = [c["name"] for c in measured.classes if c["share"] and not c["predicted"]] if measured else []
    worst = min(measured.images.items(), key=lambda item: item[1], default=None) if measured else None
    complete = done >= run.steps
    lines = [] if complete else [f"stopped after step {done} of {run.steps}"]
    lines += [against, *checkpoints, _trend_in_words(how)]
    if never:
        lines.append(f"never predicted: {', '.join(never)}")
    if worst:
        lines.append(f"worst image: {worst[0]}, mean IoU {worst[1]:.3f}")
    command, advice = _next(judgement, useful, how, complete, run)
    return Verdict(
        judgement, useful, how.direction, complete, best, last, tuple(never), worst, (*lines, *advice), command
    )


def _against_baseline(measured: Measurement | None) -> tuple[Judgement, bool, str]:
    if measured is None:
        return "unmeasured", False, "not measured on validation images"
    base, scores = measured.baseline, measured.scores
    names = [name for name in ("pixel_accuracy", "iou") if not math.isnan(base[name])]
    if not names:  # the baseline needs at least one class
        return (
            "unmeasured",
            True,
            f"mean IoU (not compared with a baseline, since classes overlap): {scores['iou']:.3f}",
        )
    gains = [scores[name] - base[name] for name in names]
    margins = [MARGIN * (1 - base[name]) for name in names]
    above = [gain > margin for gain, margin in zip(gains, margins, strict=True)]
    judgement: Judgement = "better" if all(above) else "mixed" if any(above) else "worse"
    useful = judgement == "better" or (
        judgement == "mixed" and scores["iou"] - base["iou"] >= USEFUL * (1 - base["iou"])
    )
    values = ", ".join(f"{_IN_WORDS[name]} {scores[name]:.3f} ({base[name]:.3f})" for name in names)
    word = "neither better nor worse than" if judgement == "mixed" else f"{judgement} than"
    if judgement == "worse" and all(gain >= -margin for gain, margin in zip(gains, margins, strict=True)):
        word = "no better than"
    return judgement, useful, f"{word} calling every pixel {measured.commonest!r}: {values}"


def _checkpoints(log: Sequence[dict[str, Any]], select: str) -> tuple[int | None, int | None, list[str]]:
    """The steps of best/ and last/, and lines that compare them."""
    select = select if any(select in r for r in log) else "iou"  # a run of an earlier version, which chose by IoU
    scores = [(r["step"], float(r.get(select, math.nan))) for r in log if "iou" in r]
    if not scores:
        return None, None, []
    last = scores[-1]
    finite = [score for score in scores if not math.isnan(score[1])]
    sign = -1 if select == LOSS else 1
    best = max(finite, key=lambda score: (sign * score[1], score[0]), default=last)
    name = _IN_WORDS.get(select, select)
    if best[0] == last[0]:
        return best[0], last[0], [f"the last checkpoint (step {last[0]}) is also the best by {name}"]
    line = f"the best checkpoint (step {best[0]}) has {name} {best[1]:.3f}; "
    return best[0], last[0], [f"{line}the last one (step {last[0]}) has {last[1]:.3f}"]


def _trend_in_words(how: Trend) -> str:
    (step, lowest), now = how.lowest, how.now
    match how.direction:
        case "falling":
            return f"the validation loss is still falling ({now:.3f})"
        case "flat":
            return f"the validation loss no longer changes ({now:.3f})"
        case "overfitting":
            return (
                f"overfitting: the validation loss rose from {lowest:.3f} at step {step} to {now:.3f}, and the "
                "training loss fell"
            )
        case "rising":
            return (
                f"the validation loss rose from {lowest:.3f} at step {step} to {now:.3f}, and the training loss did "
                "not fall"
            )
    return "too few validations to see a trend of the validation loss"


def _next(judgement: Judgement, useful: bool, how: Trend, complete: bool, run: Run) -> tuple[str, list[str]]:
    """The next command, and advice as text."""
    resume = ["unet", "train", run.data, "--out", str(run.out), "--resume"]
    longer = shlex.join([*resume, "--steps", str(2 * run.steps)])
    if not complete:
        return shlex.join(resume), []
    if useful:
        predict = shlex.join(["unet", "predict", str(run.out / "best"), "IMAGE", "-o", "OUT"])
        advice = {
            "falling": [f"more steps would help: {longer}"],
            "overfitting": ["more images, or stronger augmentation, would help more than further steps"],
            "rising": ["a new run with a lower --learning-rate would help"],
        }
        return predict, advice.get(how.direction, [])
    if judgement == "unmeasured" or how.direction in ("falling", "unknown"):
        return longer, ["train longer before you change anything else"] if judgement != "unmeasured" else []
    check = shlex.join(["unet", "data", "check", run.data])
    advice = {
        "overfitting": "the network memorises the training images: check that labels match their images, or add images",
        "rising": "first try a new run with a lower --learning-rate",
    }
    nothing = "the network does not generalise to other images: check that labels match their images"
    return check, [advice.get(how.direction, nothing)]
