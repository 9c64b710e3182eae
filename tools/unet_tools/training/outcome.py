"""After a training: scores, objects and the report."""

from __future__ import annotations

import dataclasses

from unet_data import Dataset, Measurement, OpenNetwork, measure_in_detail
from unet_jax import JaxRuntime, TrainResult, from_pretrained
from unet_jax.training.run.folder import add_to_record
from unet_jax.training.run.selection import measure_for
from unet_spec import InputError, NetworkConfig
from unet_spec.errors import OutputError

from ..console import console, notes, plain, print_classes, print_json, print_table
from ..prediction.object_scores import FoundObjects, object_lines, score_objects, store_objects
from .flags import TrainArgs
from .judging.verdict import Run, Verdict, judge


def choose_objects(args: TrainArgs, result: TrainResult, validation: Dataset) -> FoundObjects:
    """Chooses the settings of the object separation on the validation images, stores them with the checkpoints, and
    prints scores. Returns the objects of these images."""
    best = from_pretrained(result.out / "best")
    network = OpenNetwork(JaxRuntime(best), best.data, result.out / "best")
    objects = score_objects(network, network.run, validation, choose=True)
    for name in ("best", "last"):
        store_objects(result.out / name, objects.settings)
    if objects.chosen_by == 0:
        notes.print("warning: no settings find an object of the validation images, so those chosen mean nothing")
    if not args.json:
        notes.print(
            f"settings of the object separation, chosen on the validation images: {objects.settings.described()}"
        )
        print_table("objects", ("measure", "value"), object_lines(objects.scores), right="1")
    return objects


def print_stopped(args: TrainArgs, config: NetworkConfig, result: TrainResult, training: Dataset) -> None:
    """Prints the verdict on a run that a signal stopped, from its log alone."""
    verdict = _verdict(args, config, result, training, None)
    if not args.json:
        for line in verdict.lines:
            notes.print(line)
    notes.print(f"stopped, the state is saved; continue with: {verdict.next}")


def _verdict(
    args: TrainArgs, config: NetworkConfig, result: TrainResult, training: Dataset, measured: Measurement | None
) -> Verdict:
    """Returns the verdict, and writes it to run.json."""
    select = measure_for(args.settings, config, training)
    verdict = judge(result.log, measured, Run(args.data, result.out, args.settings.optimisation.steps, select))
    if (result.out / "run.json").exists():
        add_to_record(result.out, "verdict", plain(dataclasses.asdict(verdict)))
    return verdict


def print_result(
    args: TrainArgs,
    config: NetworkConfig,
    result: TrainResult,
    training: Dataset,
    validation: Dataset,
    objects: FoundObjects | None = None,
) -> None:
    """Measures the best checkpoint; prints its scores and the verdict, and writes both into run.json and the report.

    objects: objects of the validation images, for the report."""
    best = from_pretrained(result.out / "best")
    measured = measure_in_detail(JaxRuntime(best).run, config, best.data, validation, objects=True)
    verdict = _verdict(args, config, result, training, measured)
    _print_scores(args, config, result, validation, measured, verdict)
    if args.report:
        from ..report.run import write_run_report

        try:
            page = write_run_report(result, config, args.settings, best, validation, measured, verdict, objects)
        except InputError as e:
            again = "" if isinstance(e, OutputError) else f"; then: unet report {result.out}"
            notes.print(f"no report.html: {e}{again}")
        else:
            notes.print(f"look at {page}")


def _print_scores(
    args: TrainArgs,
    config: NetworkConfig,
    result: TrainResult,
    validation: Dataset,
    measured: Measurement,
    verdict: Verdict,
) -> None:
    if args.json:
        values = dataclasses.asdict(result) | {"parameters": config.graph.parameter_count, "best": measured.scores}
        values |= {"classes": measured.classes, "verdict": dataclasses.asdict(verdict)}
        print_json({k: v for k, v in values.items() if k not in ("log", "stop_signal")})
        return
    lines = [
        (name, f"{value:.4f}", f"{result.scores[name]:.4f}" if name in result.scores else "")
        for name, value in measured.scores.items()
    ]
    print_table(f"validation on {len(validation)} images", ("measure", "best", "last"), lines, right="1 2")
    print_classes(measured)
    for line in verdict.lines:
        console.print(line, soft_wrap=True)
    console.print(f"next: {verdict.next}", soft_wrap=True)
