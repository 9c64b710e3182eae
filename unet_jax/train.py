"""The training loop: batches in, checkpoints and a log out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from unet_data import Dataset, Normalization, Sampler
from unet_data.evaluate import check_fits, measure
from unet_data.normalize import full_scale
from unet_jax.run_folder import append_log, open_folder, read_log, write_log
from unet_jax.runtime import JaxRuntime
from unet_jax.settings import TrainSettings
from unet_jax.state import Saved, latest, restore, save
from unet_jax.step import initial_state, make_step
from unet_jax.unet import UNet
from unet_spec import DataSpec, InputError, UNetConfig

Report = Callable[[dict[str, Any]], None]
"""Receives each record of the log as it is written."""


@dataclass(frozen=True)
class TrainResult:
    """What a run came to.

    Attributes:
        out: the run folder.
        scores: of the last checkpoint on the validation data (empty without any).
        best: of the best one.
        log: every record, as in log.jsonl.
    """

    out: Path
    scores: dict[str, float]
    best: dict[str, float]
    log: list[dict[str, Any]]


def train(
    config: UNetConfig,
    settings: TrainSettings,
    training: Dataset,
    validation: Dataset | None,
    out: Path,
    resume: bool = False,
    report: Report = lambda record: None,
) -> TrainResult:
    """Trains and writes the run folder `out`.

    With `resume`, goes on from its last saved state, bit for bit as if it had never stopped, or starts where there is
    none. Raises InputError: data that do not fit the network, a folder that holds another run, a loss that is no
    longer finite (the last state saved before it is kept).
    """
    _check_data(config, training, validation)
    tile = settings.tile_shape(config)
    inner = config.geometry.output_shape(tile)
    model = UNet(config, settings.seed)
    normal = Normalization.from_dataset(training)
    model.data = DataSpec(normal.mean, normal.std, training.class_names)
    graphdef, state = initial_state(model, settings)
    saved = Saved()
    open_folder(out, config, settings, training, resume)
    if resume and latest(out / "state") is not None:
        state, saved = restore(out / "state", state)
    log = read_log(out / "log.jsonl", up_to=int(state["step"])) if resume else []
    write_log(out / "log.jsonl", log)

    unit = full_scale(training.images[0].dtype)
    mean, std = (jnp.asarray(np.multiply(v, unit), jnp.float32) for v in (normal.mean, normal.std))
    step = make_step(graphdef, settings, tile, mean, std)
    sampler = Sampler(training, settings.augmentation.window(tile), inner, settings.batch, settings.seed)

    def tell(record: dict[str, Any]) -> None:
        log.append(record)
        append_log(out / "log.jsonl", record)
        report(record)

    def keep(state: dict[str, Any], number: int) -> Saved:
        """Measures, and writes last/, perhaps best/, and the state."""
        nonlocal saved
        now = nnx.merge(graphdef, *jax.tree.map(jnp.copy, (state["params"], state["stats"])))
        now.eval()
        scores: dict[str, float] = {}
        if validation is not None:
            scores = measure(JaxRuntime(now).run, config, now.data, validation)
        tell({"step": number, **scores} if scores else {"step": number, "saved": True})
        now.save_pretrained(out / "last")
        if not scores or scores["iou"] >= saved.best.get("iou", -math.inf):
            now.save_pretrained(out / "best")
            saved = Saved(scores, scores)
        else:
            saved = Saved(scores, saved.best)
        save(out / "state", number, state, saved)
        return saved

    first = int(state["step"])
    losses: list[Any] = []
    since = time.perf_counter()
    for number, images, labels in _prefetched(sampler, first, settings.steps):
        state, loss = step(state, jnp.asarray(images), jnp.asarray(labels))
        losses.append(loss)
        done = number + 1
        if done % settings.log_every == 0 or done == settings.steps:
            value = float(np.mean(jax.device_get(losses)))
            if not math.isfinite(value):
                raise InputError(
                    f"the loss is {value} at step {done}; {out / 'last'} holds the last good state; "
                    "a lower learning rate, or clip above 0, usually helps"
                )
            now = time.perf_counter()
            tell({"step": done, "loss": value, "steps_per_second": len(losses) / (now - since)})
            losses, since = [], now
        if done % settings.validate_every == 0 or done == settings.steps:
            keep(state, done)
            since = time.perf_counter()
    return TrainResult(out, saved.scores, saved.best, log)


def _prefetched(sampler: Sampler, first: int, last: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """The batches first … last − 1; the next one is cut while this one trains."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(sampler.batch, first)
        for number in range(first, last):
            images, labels = coming.result()
            if number + 1 < last:
                coming = pool.submit(sampler.batch, number + 1)
            yield number, images, labels


def _check_data(config: UNetConfig, training: Dataset, validation: Dataset | None) -> None:
    for dataset in (training, validation):
        if dataset is not None and dataset.labels is None:
            raise InputError(f"{dataset.source} has no labels; training needs one for each image")
        if dataset is not None:
            check_fits(config, dataset)
