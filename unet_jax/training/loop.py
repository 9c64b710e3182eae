"""The training loop."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from unet_data import Dataset
from unet_data.metrics.evaluate import check_fits
from unet_data.normalize import normalization_of
from unet_data.spacing.target import parse_spacing
from unet_spec import DataSpec, InputError, NetworkConfig

from ..compiling import Compiling
from ..network import Loss
from .devices.processes import run_on_process_zero
from .devices.step_memory import out_of_memory_as_input_error
from .evaluator import Evaluator
from .loader import check_loader
from .log import Report, RunLog, read_log
from .run.beginning import begin
from .run.folder import check_folder, write_record
from .run.hooks import Augment, Callback, Hooks
from .run.selection import AP, measure_for
from .run.signals import StopSignals
from .run.train_state_folder import TrainStateFolder, latest_step
from .settings import DataSettings, TrainSettings
from .step import rate_after
from .trainer import Trainer


@dataclass(frozen=True)
class TrainResult:
    """Outcome of a training run.

    Attributes:
        out: the run folder.
        scores: validation scores of the last checkpoint (empty without validation data).
        best: scores of the best checkpoint.
        log: every record, as in log.jsonl.
        stop_signal: number of the signal that stopped the run early, after its state was saved; None: the run is
            complete.

    Example:
        >>> result = TrainResult(Path("run"), {"iou": 0.8}, {"iou": 0.9}, log=[], stop_signal=15)
        >>> f"exit code {128 + result.stop_signal}; {result.out} can be resumed"
        'exit code 143; run can be resumed'
    """

    out: Path
    scores: dict[str, float]
    best: dict[str, float]
    log: list[dict[str, Any]]
    stop_signal: int | None = None


def train(
    config: NetworkConfig,
    settings: TrainSettings,
    training: Dataset,
    validation: Dataset | None,
    out: Path,
    resume: bool = False,
    report: Report = lambda record: None,
    *,
    loss: Loss | None = None,
    augment: Augment | None = None,
    callbacks: Sequence[Callback] = (),
) -> TrainResult:
    """Trains a network and writes the run folder, on all devices of all processes (`jax.distributed`).

    SIGTERM and SIGINT save the state and stop the run.

    Args:
        config: the network.
        settings: settings of the training.
        training: labelled images, (H, W, C) or (D, H, W, C).
        validation: labelled images for validation; None: no scores.
        out: the run folder: best/, last/, log.jsonl, run.json and state/.
        resume: continue from the last saved state in `out`; on a CPU, the result is identical to that of an
            uninterrupted run, bit for bit. Without a saved state, start at step 0.
        report: called with each record of the log as it is written, and before each compilation
            (`training.log.Report`).
        loss: loss function instead of that of the settings, from (logits, labels, weights) to a scalar, in jax.numpy:
            logits (N, *spatial, K) float32 of the classes; labels (N, *spatial) integers, −1 for pixels that do not
            count (bit k for class k if classes overlap, see `unet_data.pack_masks`); weights (N, *spatial) float32 or
            None. The loss of a distance head is added to it. The validation loss uses this function, too, without
            weights.
        augment: function applied after the augmentation of the settings, in the jitted step, from (key, images, labels,
            weights) to (images, labels, weights) of the same shapes. Images (N, *tile, C) are float32 and normalised;
            labels are (N, *tile), packed by `unet_data.pack_distances` for a distance head; weights are (N, *tile) or
            None. All randomness must come from the key.
        callbacks: functions called in process 0 after each validation, with its record and the network in evaluation
            mode. If one returns True, the run stops as by SIGTERM: its state is saved, and `resume` continues it.

    Raises:
        InputError: the data do not fit the network, the folder contains another run or cannot be written, the batch
            cannot be divided over the devices, or a loss or gradient is not finite (the state before it is kept; the
            message names the step, its images and the first layer).

    Example:
        >>> from pathlib import Path
        >>> from unet_data import membranes, split
        >>> from unet_jax import TrainSettings, preset, train
        >>> training, validation = split(membranes(2, 40, seed=0))
        >>> settings = TrainSettings().replace(steps=2, tile=28)
        >>> result = train(preset("paper", widths=(2, 4)), settings, training, validation, Path("run"))
        >>> sorted(path.name for path in result.out.iterdir()), 0 <= result.best["iou"] <= 1
        (['best', 'last', 'log.jsonl', 'run.json', 'state'], True)
    """
    _check_data(config, settings, training, validation)
    select = measure_for(settings, config, training)
    if select == AP and validation is not None and validation.instances is None:
        raise InputError(
            f"{validation.source}: best/ is chosen by {AP}, which needs labels that number objects; or choose another "
            "select, such as iou"
        )
    check_loader(settings)
    hooks = Hooks(loss, augment, callbacks)
    record = check_folder(out, config, settings, training, validation, resume, hooks.names)
    if resume:
        read_log(out / "log.jsonl", settings.optimisation.steps)  # refuses a damaged log before anything is written
    with StopSignals() as stop:
        data = data_spec(config, settings, training)
        model = begin(config, settings, bool(latest_step(out / "state")), data.class_names)
        model.data = data
        trainer = Trainer(model, settings, training, hooks)
        evaluator = Evaluator(model, settings, select, validation, out, loss)
        log = RunLog(out / "log.jsonl", report)
        compiling, size = None, "x".join(map(str, trainer.tile))
        step = f"the training step, {settings.optimisation.batch} tile(s) of {size}"
        if (before := latest_step(out / "state") or 0) < settings.optimisation.steps:
            compiling = Compiling(step, before, log.announce)
            if trainer.compile():
                compiling.end()
        write_record(out, record)  # not earlier: a refused run must not leave files
        note = (
            f"with {settings.optimisation.batch} tile(s) of {size} pixels per step; raise "
            "space (also with --resume), or start a new run with a smaller tile or batch, accumulate, remat or "
            f"precision bfloat16; saved states are kept in {out}"
        )
        with closing(TrainStateFolder(out / "state")) as states, out_of_memory_as_input_error(note):
            done = _Loop(settings, trainer, evaluator, states, log, stop, compiling, callbacks).run(resume)
    stop_signal = stop.signal if done < settings.optimisation.steps else None
    return TrainResult(out, evaluator.saved.scores, evaluator.saved.best, log.records, stop_signal)


def _check_data(config: NetworkConfig, settings: TrainSettings, training: Dataset, validation: Dataset | None) -> None:
    """Raises InputError if the data have no labels or do not fit the network or the settings."""
    for dataset in (training, validation):
        if dataset is not None and dataset.labels is None:
            raise InputError(f"{dataset.source} has no labels; training needs one for each image")
        if dataset is not None:
            check_fits(config, dataset)
    if config.distance_head and (training.instances is None or training.stored):
        needed = "labels in memory; leave out --loader grain" if training.stored else "labels that number objects"
        raise InputError(f"{training.source}: a distance head needs {needed}")
    overlaps = settings.data.labels == "overlapping"
    if overlaps != training.overlapping:
        raise InputError(
            f"{training.source} was opened as {'' if training.overlapping else 'not '}overlapping, but the settings "
            f"have labels {settings.data.labels}; give both the same"
        )
    if overlaps and config.architecture == "probabilistic-unet":
        raise InputError(f"{config.architecture} needs one class per pixel; overlapping classes need another network")
    asked = parse_spacing(settings.data.spacing)
    own = () if training.spacing is None else training.spacing.size
    if asked is not None and own not in (asked, asked * training.spatial_dims):
        done = f"resampled to pixels of {training.spacing}" if own else "not resampled"
        raise InputError(
            f"{training.source}: images were {done}, but the settings have spacing {settings.data.spacing}; give both "
            "the same: unet_data.resample_dataset resamples images"
        )
    if settings.data.ignore != training.ignore:
        raise InputError(
            f"{training.source} was opened with ignore {training.ignore}, but the settings have ignore "
            f"{settings.data.ignore}; give both the same"
        )


def class_names(config: NetworkConfig, training: Dataset) -> tuple[str, ...]:
    """Names of the network's classes: those of the data, then "class 2" and so on for classes that the data lack."""
    if training.overlapping:
        return training.class_names
    return training.class_names + tuple(f"class {index}" for index in range(training.class_count, config.classes))


def data_spec(config: NetworkConfig, settings: TrainSettings, training: Dataset) -> DataSpec:
    """Normalisation, class names and how images and labels were read, to be stored with the weights."""
    plain, own = DataSettings(), settings.data
    chosen = {name: getattr(own, name) for name in ("labels", "ignore", "class_numbers")}
    labels = {name: str(value) for name, value in chosen.items() if value != getattr(plain, name)} or None
    data = normalization_of(training, settings.data.normalization)
    reading = asdict(training.reading or settings.reading)
    data = replace(data, class_names=class_names(config, training), overlapping=training.overlapping, reading=reading)
    data, target = replace(data, labels=labels), training.spacing
    return data if target is None else replace(data, spacing=target.size, spacing_unit=target.unit)


@dataclass
class _Loop:
    """Trains, logs, validates and saves, until the last step or a signal."""

    settings: TrainSettings
    trainer: Trainer
    evaluator: Evaluator
    states: TrainStateFolder
    log: RunLog
    stop: StopSignals
    compiling: Compiling | None = None
    callbacks: Sequence[Callback] = ()

    def run(self, resume: bool) -> int:
        """Returns the number of steps taken, including those before the run was resumed."""
        trainer, evaluator = self.trainer, self.evaluator
        if resume and self.states.latest() is not None:
            trainer.state, evaluator.saved = self.states.restore(trainer.state)
        done = int(trainer.state["step"])
        # If the run ended before its validation, validate now. −1: a state of an earlier version, which is validated.
        measures_again = self._measures_after(done) and evaluator.saved.measured not in (done, -1)
        self.log.restart(done, measures_again)
        if measures_again:
            self._measure(done)
        self.log.start_clock(done)
        with closing(trainer.batches(done)) as batches:
            for done, batch in batches:
                trainer.step(batch)
                if self.compiling is not None:
                    self.compiling.end()
                last = done == self.settings.optimisation.steps
                logs, measures = last or done % self.settings.validation.log_every == 0, self._measures_after(done)
                if logs:
                    self._log_loss(done)
                if measures:
                    self._measure(done)
                    self.log.start_clock(done)
                if not last and self.stop.agreed(logs or measures):
                    if not measures:
                        self._check_finite(done)
                        self.states.save(done, trainer.state, evaluator.saved)
                    break
        return done

    def _measures_after(self, done: int) -> bool:
        steps = self.settings.optimisation.steps
        every = self.settings.validation.steps_between(steps)
        return done > 0 and (done % every == 0 or done == steps)

    def _log_loss(self, done: int) -> None:
        """Logs the loss. Between validations, the host waits for the devices only here."""
        loss = self._check_finite(done) / ((done - 1) % self.settings.validation.log_every + 1)
        self.states.check()
        self.log.add_loss(done, loss, rate_after(self.settings.optimisation, done - 1))

    def _measure(self, done: int) -> None:
        """Validates in process 0, writes the checkpoints and saves the state. The state is also saved if the validation
        fails, so that a resumed run repeats no step."""
        self._check_finite(done)
        weights = self.trainer.weights_to_validate()
        note = (
            f"in the validation after step {done}; {self.log.path.parent} has the state of that "
            "step, and --resume continues it when more memory is free"
        )
        try:
            with out_of_memory_as_input_error(note):
                run_on_process_zero(lambda: self._evaluate(done, weights))
            self.evaluator.saved = replace(self.evaluator.saved, measured=done)
        finally:
            self.states.save(done, self.trainer.state, self.evaluator.saved)

    def _evaluate(self, done: int, weights: tuple[Any, Any]) -> None:
        """Logs the scores and calls the callbacks, in process 0."""
        self.log.add_scores(done, self.evaluator.evaluate(*weights))
        results = [callback(self.log.records[-1], self.evaluator.model) for callback in self.callbacks]
        if any(isinstance(result, bool | np.bool_ | jax.Array) and result for result in results):
            self.stop.signal = self.stop.signal or signal.SIGTERM

    def _check_finite(self, done: int) -> float:
        """The sum of the losses since the last line of the log. If a step failed, saves the state before it and raises
        InputError."""
        loss, failed = self.trainer.loss_and_failure()
        if failed < 0:
            return loss
        if failed:
            self.states.save(failed, self.trainer.state_before_failure(), self.evaluator.saved)
        names = ", ".join(self.trainer.image_names(failed))
        message = f"the loss or its gradient is not finite in step {failed + 1} (batch of {names})"
        cause = self.trainer.cause_of_failure(failed)
        message += f": first in {cause.where}; " if cause else "; "
        message += f"{self.states.folder} has the state before it; " if failed else ""
        if failed and cause and cause.weights_too_large:  # resumed with a lower rate, the same batch would fail again
            raise InputError(
                message + "its weights are already too large: start a new run with a lower learning_rate or clip above "
                "0"
            )
        raise InputError(
            message + "a lower learning_rate or clip above 0 usually helps; both can be changed with --resume"
        )
