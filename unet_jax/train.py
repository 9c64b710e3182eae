"""The training loop: batches in, checkpoints and a log out."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from unet_data import Dataset, Normalization, Sampler
from unet_data.border_weights import weight_maps
from unet_data.evaluate import check_fits, measure
from unet_data.normalize import full_scale
from unet_data.window_weights import window_weights
from unet_jax.diagnose import NotFinite, first_not_finite
from unet_jax.interrupt import Stop
from unet_jax.loader import batches, check_loader, leave_signals
from unet_jax.memory import telling_of_memory, that_fits
from unet_jax.mesh import gathered, make_mesh, own_rows, place, put_batch
from unet_jax.processes import led
from unet_jax.run_folder import append_log, check_folder, read_log, write_log, write_record
from unet_jax.runtime import JaxRuntime
from unet_jax.selection import OBJECTS, is_best, measure_for
from unet_jax.settings import TrainSettings
from unet_jax.state import Saved, StateFolder, latest_step
from unet_jax.step import TrainState, initial_state, make_prepare, make_step
from unet_jax.zoo import create
from unet_spec import DataSpec, InputError, NetworkConfig

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
        stopped: the signal that ended it early, its state saved; or None.
    """

    out: Path
    scores: dict[str, float]
    best: dict[str, float]
    log: list[dict[str, Any]]
    stopped: int | None = None


def train(
    config: NetworkConfig,
    settings: TrainSettings,
    training: Dataset,
    validation: Dataset | None,
    out: Path,
    resume: bool = False,
    report: Report = lambda record: None,
) -> TrainResult:
    """Trains and writes the run folder `out`, on every device of every process (`jax.distributed`) there is.

    With `resume`, goes on from its last saved state, on a CPU bit for bit as if it had never stopped, or starts where
    there is none. SIGTERM and SIGINT save and leave. Raises InputError: data that do not fit the network, a folder that
    holds another run or cannot be written, a batch that the devices cannot share, a loss or gradient that is not finite
    (the state before it is kept; the message names the step, its images and the first layer).
    """
    for dataset in (training, validation):
        if dataset is not None and dataset.labels is None:
            raise InputError(f"{dataset.source} has no labels; training needs one for each image")
        if dataset is not None:
            check_fits(config, dataset)
    if settings.ignore != training.ignore:
        raise InputError(
            f"{training.source} was opened with ignore {training.ignore}, but the settings have ignore "
            f"{settings.ignore}; give both the same"
        )
    measure_for(settings, config, training)
    check_loader(settings)
    record = check_folder(out, config, settings, training, validation, resume)
    with Stop() as stop:
        run = _Run(config, settings, training, validation, out, stop, report)  # refuses what cannot be trained
        write_record(out, record)
        states = StateFolder(out / "state")
        told = (
            f"with {settings.batch} tile(s) of {'x'.join(map(str, run.tile))} pixels a step; more space, also with "
            "--resume, or in a new run a smaller tile or batch, accumulate, remat or precision bfloat16 needs less; "
            f"{out} keeps what was saved"
        )
        with closing(states), telling_of_memory(told):
            return run.go(states, resume)


class _Run:
    """What the loop has in its hands."""

    def __init__(
        self,
        config: NetworkConfig,
        settings: TrainSettings,
        training: Dataset,
        validation: Dataset | None,
        out: Path,
        stop: Stop,
        report: Report,
    ):
        self.settings, self.validation, self.out = settings, validation, out
        self.stop, self._report = stop, report
        self.config, self.leads = config, jax.process_index() == 0
        self.select = measure_for(settings, config, training)
        self.saved, self.log = Saved(measured=0), []

        self.tile = tile = settings.tile_shape(config)
        self.mesh: Mesh | None = make_mesh(settings, tile)
        model = create(config, settings.seed)
        normal = Normalization.from_dataset(training)
        more = tuple(f"class {index}" for index in range(training.class_count, config.classes))
        self.data = DataSpec(normal.mean, normal.std, training.class_names + more)
        self.graphdef, state = initial_state(model, settings)
        unit = full_scale(training.images[0].dtype)
        mean, std = (jnp.asarray(np.multiply(v, unit), jnp.float32) for v in (normal.mean, normal.std))
        self.prepare = make_prepare(settings, tile, mean, std)
        self.step = make_step(self.graphdef, settings, tile, mean, std, self.mesh, state)
        self.state: TrainState = place(self.mesh, state, settings.fsdp)
        self.runtime = JaxRuntime(model)  # kept, so that measuring compiles once
        weights = None
        if settings.weighted:
            maps = window_weights if training.stored else weight_maps
            weights = maps(training, settings.border_weight, settings.border_sigma, settings.balance)
        inner, window = config.geometry.output_shape(tile), settings.augmentation.window(tile)
        self.sampler = Sampler(training, window, inner, settings.batch, settings.seed, weights)
        if self.mesh is None and (latest_step(out / "state") or 0) < settings.steps:
            self.step = that_fits(
                self.step, self.state, [jax.ShapeDtypeStruct(*each) for each in self.sampler.shapes()]
            )

    def go(self, states: StateFolder, resume: bool) -> TrainResult:
        settings, self.states = self.settings, states
        if resume and self.states.latest() is not None:
            self.state, self.saved = self.states.restore(self.state)
        first = int(self.state["step"])
        self.log = read_log(self.out / "log.jsonl", up_to=first) if resume else []
        again = self._measures(first) and self.saved.measured not in (first, -1)  # the run ended before it was done
        if again:
            self.log = [r for r in self.log if r["step"] < first or "loss" in r]
        if self.leads:
            write_log(self.out / "log.jsonl", self.log)
        if again:
            self._measure(first)
        done, since = first, (first, time.perf_counter())  # from where speed is measured
        with closing(self._batches(first)) as coming:
            for done, batch in coming:
                self.state, _ = self.step(self.state, *batch)
                ends = done == settings.steps
                logs = done % settings.log_every == 0 or ends
                if logs:
                    since = self._log_loss(done, *since)
                if measures := self._measures(done):
                    self._measure(done)
                    since = done, time.perf_counter()
                if not ends and self.stop.agreed(logs or measures):
                    if not measures:
                        self._check_finite(done)
                        self.states.save(done, self.state, self.saved)
                    break
        stopped = self.stop.signal if done < settings.steps else None
        return TrainResult(self.out, self.saved.scores, self.saved.best, self.log, stopped)

    def _batches(self, first: int) -> Generator[tuple[int, tuple[Any, ...]]]:
        """Each step's number, counted from 1, and its batch on the devices; the next one is cut and sent while this
        one trains."""
        host = batches(self.sampler, self.settings, first, own_rows(self.mesh, self.settings.batch))

        def make() -> tuple[Any, ...]:
            return put_batch(self.mesh, next(host))

        with closing(host), ThreadPoolExecutor(1, initializer=leave_signals, initargs=(self.settings,)) as pool:
            coming = pool.submit(make) if first < self.settings.steps else None
            for step in range(first, self.settings.steps):
                assert coming is not None
                batch = coming.result()
                coming = pool.submit(make) if step + 1 < self.settings.steps else None
                yield step + 1, batch

    def _tell(self, record: dict[str, Any]) -> None:
        self.log.append(record)
        if self.leads:
            append_log(self.out / "log.jsonl", record)
            self._report(record)

    def _log_loss(self, done: int, step: int, then: float) -> tuple[int, float]:
        """The only place, between measurements, where the host waits for the device. (step, then): since when the
        speed is measured; returned as it is from now on."""
        loss = self._check_finite(done) / ((done - 1) % self.settings.log_every + 1)
        self.states.check()
        now = time.perf_counter()
        self._tell({"step": done, "loss": loss, "steps_per_second": (done - step) / (now - then)})
        return done, now

    def _check_finite(self, done: int) -> float:
        """The sum of the losses since the last line of the log. Raises InputError if one failed, and saves."""
        loss, failed = (gathered(self.mesh, self.state[name]).item() for name in ("loss", "failed"))
        if failed < 0:
            return loss
        good = self.state | {"failed": jnp.full_like(self.state["failed"], -1)}
        if failed:
            self.states.save(failed, good, self.saved)
        names = ", ".join(self.sampler.dataset.names[index] for index, _ in self.sampler.places(failed))
        told = f"the loss or its gradient is not finite in step {failed + 1} (batch of {names})"
        found = self._first_layer(failed)
        told += f": first in {found.where}; " if found else "; "
        told += f"{self.out / 'state'} keeps the state before it; " if failed else ""
        if failed and found and found.spoilt:  # from there, a lower rate would come to the same batch and weights
            raise InputError(
                told + "its weights are too large already: begin anew, with a lower learning_rate or clip above 0"
            )
        raise InputError(told + "a lower learning_rate, or clip above 0, usually helps; --resume takes either")

    def _first_layer(self, failed: int) -> NotFinite | None:
        """Where the numbers of this step are first not finite; None if that cannot be found out, as it takes more
        memory than the step."""
        try:
            state = gathered(self.mesh, {"params": self.state["params"], "stats": self.state["stats"]})
            batch = self.prepare(jnp.int32(failed), self.sampler.batch(failed))
            return first_not_finite(self.graphdef, self.settings, state["params"], state["stats"], *batch)
        except Exception:
            return None

    def _measures(self, done: int) -> bool:
        """Whether a measurement comes after so many steps."""
        return done > 0 and (done % self.settings.validate_every == 0 or done == self.settings.steps)

    def _measure(self, done: int) -> None:
        """Measures, in the first process, and writes the checkpoints there and the state: this one also where measuring
        fails, so that a resumed run has no step to repeat."""
        self._check_finite(done)
        shown = gathered(self.mesh, self.state.get("ema", {name: self.state[name] for name in ("params", "stats")}))
        told = (
            f"as it measured the validation images after step {done}; {self.out} keeps the state of that step, and "
            "--resume goes on where more is free"
        )
        try:
            with telling_of_memory(told):
                led(lambda: self._measure_and_write(done, shown))
            self.saved = replace(self.saved, measured=done)
        finally:
            self.states.save(done, self.state, self.saved)

    def _measure_and_write(self, done: int, shown: dict[str, Any]) -> None:
        """last/, perhaps best/, and a line of the log. shown: params and stats of the network to measure."""
        model = nnx.merge(self.graphdef, *jax.tree.map(jnp.array, (shown["params"], shown["stats"])))
        model.eval()
        model.data = self.data
        scores: dict[str, float] = {}
        if self.validation is not None:
            self.runtime.state = nnx.state(model)
            objects = self.select in OBJECTS
            scores = measure(self.runtime.run, self.config, self.data, self.validation, objects)
        model.save_pretrained(self.out / "last")
        if is_best(self.select, scores, self.saved.best):
            model.save_pretrained(self.out / "best")
            self.saved = replace(self.saved, best=scores)
        self.saved = replace(self.saved, scores=scores)
        self._tell({"step": done, **scores} if scores else {"step": done, "saved": True})
