"""The report page of one training run."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from unet_data import Dataset
from unet_data.evaluate import commonest_class_accuracy
from unet_data.predict import predict_image
from unet_data.tiles import middle
from unet_jax.network import Network
from unet_jax.runtime import JaxRuntime
from unet_jax.settings import TrainSettings
from unet_jax.train import TrainResult
from unet_spec import NetworkConfig
from unet_spec.summary import facts
from unet_tools.networks import network_name

EXAMPLES = 2


def write_run_report(
    result: TrainResult,
    config: NetworkConfig,
    settings: TrainSettings,
    best: Network,
    validation: Dataset,
    scores: dict[str, float],
) -> Path | None:
    """Writes report.html, .json and .png into the run folder; None where matplotlib or jinja2 is not installed."""
    if find_spec("matplotlib") is None or find_spec("jinja2") is None:
        return None
    from unet_tools.bench_measure import versions
    from unet_tools.demo import example_of, hardware
    from unet_tools.report import Report, write_report

    run = JaxRuntime(best).run
    assert validation.labels is not None
    examples = []
    for name, image, label in list(zip(validation.names, validation.images, validation.labels, strict=True))[:EXAMPLES]:
        window = middle(image.shape[:-1])
        shown = image[window]
        examples.append(example_of(name, shown, label[window], predict_image(run, shown, config, best.data)))
    report = Report(
        title=f"{network_name(config)} trained on {validation.source}",
        command=shlex.join(["unet", "train", "--config", str(result.out / "run.json")]),
        facts=facts(config, settings.tile_shape(config)),
        log=result.log,
        scores=scores | {"baseline_pixel_accuracy": commonest_class_accuracy(validation)},
        settings=_flat(settings.to_dict()),
        examples=examples,
        versions=versions(),
        hardware=hardware(),
        class_names=best.data.class_names,
    )
    return write_report(report, result.out)


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Those of the augmentation among the others, as augmentation.elastic."""
    found = {}
    for name, value in settings.items():
        found |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
    return found
