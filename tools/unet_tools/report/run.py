"""The report page of one training run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from unet_data import Dataset, Measurement, predict_image
from unet_data.metrics.evaluate import commonest_class_accuracy
from unet_data.windows import middle
from unet_jax import JaxRuntime, Network, TrainResult, TrainSettings
from unet_spec import NetworkConfig
from unet_spec.summary import facts

from ..arguments.networks import network_name
from ..prediction.object_scores import FoundObjects
from ..training.judging.verdict import Verdict
from .style import require_all

EXAMPLES = 3
"""Maximum number of shown images."""


def write_run_report(
    result: TrainResult,
    config: NetworkConfig,
    settings: TrainSettings,
    best: Network,
    validation: Dataset,
    measured: Measurement,
    verdict: Verdict,
    objects: FoundObjects | None = None,
) -> Path:
    """Writes report.html, .json and .png into the run folder.

    Args:
        result, config, settings: those of the training run.
        best: the network with its best weights.
        validation: labelled images; the report shows the worst, the median and the best one, by mean IoU.
        measured: scores of `best` on them.
        verdict: verdict on the run.
        objects: objects of the validation images, if their labels number objects.

    Returns:
        The path of report.html.

    Raises:
        InputError: matplotlib or jinja2 is not installed, or the folder is not writable.
    """
    require_all()
    from ..checking.bench.hardware import hardware, versions
    from ..training.demo import example_of
    from . import Report, write_report
    from .objects import object_pictures

    run = JaxRuntime(best).run
    assert validation.labels is not None
    examples, names = [], list(validation.names)
    for name, rank in ranked(measured.images, names).items():
        index = names.index(name)
        image, label = validation.images[index], validation.labels[index]
        window = middle(image.shape[:-1])
        shown = image[window]
        logits = predict_image(run, shown, config, best.data)
        example = example_of(name, shown, np.asarray(label[window]), logits, best.data.overlapping)
        examples.append(replace(example, rank=rank))
    classes = best.data.class_names
    baseline = {} if validation.overlapping else {"baseline_pixel_accuracy": commonest_class_accuracy(validation)}
    report = Report(
        title=f"{network_name(config)} trained on {validation.source}",
        command=shlex.join(["unet", "train", "--config", str(result.out / "run.json")]),
        facts=facts(config, settings.data.tile_shape(config)),
        log=result.log,
        scores=measured.scores | baseline,
        verdict=[*verdict.lines, f"next: {verdict.next}"],
        classes=measured.classes,
        settings=_flat(settings.to_dict()),
        examples=examples,
        objects=object_pictures(validation, objects.labels, objects.scores) if objects else None,
        versions=versions(),
        hardware=hardware(),
        class_names=("none", *classes) if best.data.overlapping else classes,
    )
    return write_report(report, result.out)


def ranked(scores: Mapping[str, float], names: Sequence[str]) -> dict[str, str]:
    """The images to show, by name, each with its rank: the worst, the median and the best one by score. Without scores,
    the first images.

    Example:
        >>> from unet_tools.report.run import ranked
        >>> ranked({"a": 0.7, "b": 0.9, "c": 0.2}, ["a", "b", "c"])
        {'c': 'worst', 'a': 'median', 'b': 'best'}
    """
    if len(scores) < 2:
        return dict.fromkeys(names[:EXAMPLES], "")
    order = sorted(scores, key=lambda name: scores[name])
    return {order[0]: "worst", order[len(order) // 2]: "median", order[-1]: "best"}


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Flattens the settings; those of the augmentation are named like augmentation.elastic."""
    flat = {}
    for name, value in settings.items():
        flat |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
    return flat
