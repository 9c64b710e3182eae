"""Builds unet-weights, the package of networks to start with, from labelled images.

    python -m tools.weights.build data -o dist

DATA holds dsb2018/ (nuclei) and isbi2012/ (membranes), each labelled images as unet train takes them. For each, the
first two thirds of the images train a network, the next sixth chooses the checkpoint, and the last sixth is scored.
Each network is compared in JAX, PyTorch and ONNX Runtime with the float64 reference; one that is not the same in all is
not packed. OUT receives a wheel and a source distribution. Of the images nothing goes into them.

A training that was stopped goes on with the same command. --nuclei and --membranes take runs that are finished: made by
this program, or by others on the same images. The same checkpoints give the same bytes.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unet_data import OpenNetwork, measure
from unet_jax import JaxRuntime, from_checkpoint
from unet_spec import Checkpoint, InputError
from unet_spec.errors import OutputError
from unet_spec.weights.checkpoint import CONFIG, WEIGHTS
from unet_spec.weights.model_card import CARD
from unet_tools.arguments.data import open_data
from unet_tools.checking.bench.hardware import hardware, versions
from unet_tools.checking.findings import Finding
from unet_tools.checking.runtimes import check_checkpoint
from unet_tools.cli import use_large_pages
from unet_tools.console import notes, warnings_as_notes
from unet_tools.prediction.object_scores import score_objects

from .card import Facts, card_of, readme_of
from .recipes import SUBJECTS, Parts, check_run, network_of, parts_of, settings_of, train_run
from .wheels import Package, write_sdist, write_wheel

ROOT = Path(__file__).parents[2]
SHOWN = ("iou", "dice", "pixel_error", "v_rand", "v_info")
OF_OBJECTS = ("ap@0.50", "f1@0.50", "pq@0.50", "ap_mean")


@dataclass(frozen=True)
class Args:
    data: tyro.conf.Positional[Path]
    """The folder with dsb2018/ and isbi2012/."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder to write the wheel and the source distribution to."""
    runs: Path = Path("runs/weights")
    """Folder of the trainings."""
    nuclei: Path | None = None
    """A finished run folder of nuclei, instead of a training."""
    membranes: Path | None = None
    """A finished run folder of membranes, instead of a training."""
    steps: int = 4000
    """Optimizer steps of each training."""
    widths: tuple[int, ...] = (16, 32, 64, 128)
    """Feature maps per level."""
    seed: int = 0
    """Seed of the trainings."""
    version: str = "0.1.0"
    """Version of the package."""
    licence: str = "Apache-2.0"
    """Licence of the weights, an SPDX expression. The text is the repository's LICENSE where it is Apache-2.0, else
    that of --licence-file."""
    licence_file: Path | None = None
    """Text of the licence."""


@dataclass(frozen=True)
class Built:
    """A network as it is packed: its checkpoint folder's files, and its scores."""

    files: dict[str, bytes]
    scores: dict[str, float]


def licence_text(args: Args) -> str:
    """Raises InputError if the text cannot be read or is not given."""
    if args.licence_file is None and args.licence != "Apache-2.0":
        raise InputError(f"give the text of {args.licence} by --licence-file")
    try:
        return (args.licence_file or ROOT / "LICENSE").read_text(encoding="utf-8")
    except OSError as e:
        raise InputError(f"cannot read {args.licence_file}: {e.strerror or e}") from None


def checked(checkpoint: Checkpoint, name: str) -> tuple[Finding, ...]:
    """The comparison of the runtimes, on seeded noise. Raises InputError if one is not the same network, or where
    JAX or PyTorch is missing."""
    findings = tuple(check_checkpoint(checkpoint, []))
    for found in findings:
        if found.ok is False:
            raise InputError(
                f"{name} is not the same network in {found.runtime}, {found.dtype}: {found.worst_relative}, at most "
                f"{found.bound}; it is not packed"
            )
    if missing := {"jax", "torch"} - {found.runtime for found in findings if found.ok}:
        raise InputError(f"{name} cannot be checked in {' and '.join(sorted(missing))}: not installed")
    return findings


def scored(checkpoint: Checkpoint, parts: Parts) -> tuple[Checkpoint, dict[str, float], str | None]:
    """The checkpoint with how objects are made, chosen on the validation images; scores on the images that chose
    nothing; and how objects are made, in words."""
    network = OpenNetwork(JaxRuntime(from_checkpoint(checkpoint)), checkpoint.data)
    found = measure(network.run, network.config, network.data, parts.test, objects=parts.test.instances is None)
    scores = {name: float(found[name]) for name in SHOWN if name in found}
    if parts.test.instances is None:
        return checkpoint, scores, None
    settings = score_objects(network, network.run, parts.validation, choose=True).settings
    checkpoint = dataclasses.replace(checkpoint, data=dataclasses.replace(checkpoint.data, objects=settings.to_dict()))
    network = OpenNetwork(network.runtime, checkpoint.data)
    of_objects = score_objects(network, network.run, parts.test, choose=False).scores
    return checkpoint, scores | {name: float(of_objects[name]) for name in OF_OBJECTS}, settings.described()


def build_one(name: str, given: Path | None, args: Args) -> Built:
    """Trains or takes a network; checks and scores it. Raises InputError."""
    subject, dataset = SUBJECTS[name], open_data(str(args.data / SUBJECTS[name].folder))
    parts = parts_of(dataset)
    run = given or args.runs / name
    if given is None:
        report(f"{name}: training, {args.steps} steps, in {run}", parts)
        train_run(parts, network_of(dataset, args.widths), settings_of(args.steps, args.seed), run)
    settings = check_run(parts, run)
    checkpoint, scores, objects = scored(Checkpoint.load(run / "best"), parts)
    findings = checked(checkpoint, name)
    chosen = settings.optimisation
    made_on = f"{hardware()}; " + ", ".join(f"{package} {number}" for package, number in versions().items())
    facts = Facts(command_line(), chosen.steps, chosen.seed, made_on, scores, findings, objects)
    card = card_of(name, subject, checkpoint, parts, facts, args.licence)
    for measure_name, value in scores.items():
        notes.print(f"{name}: {measure_name} {value:.4f}")
    return Built(files_of(checkpoint, args.runs / f"{name}-packed", card), scores)


def files_of(checkpoint: Checkpoint, folder: Path, card: str) -> dict[str, bytes]:
    """The files of a checkpoint folder, which is written."""
    checkpoint.save(folder, {CARD: card})
    return {name: (folder / name).read_bytes() for name in (CONFIG, WEIGHTS, CARD)}


def report(line: str, parts: Parts) -> None:
    counts = {"train": parts.training, "choose the checkpoint": parts.validation, "choose nothing": parts.test}
    notes.print(f"{line}; {', '.join(f'{len(part)} images {what}' for what, part in counts.items())}", soft_wrap=True)


def command_line() -> str:
    return shlex.join(["python", "-m", "tools.weights.build", *sys.argv[1:]])


def run(args: Args) -> int:
    if not re.fullmatch(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?", args.version):
        raise InputError(f"{args.version!r} is no version; write it as 0.1.0")
    text = licence_text(args)
    given = {"nuclei": args.nuclei, "membranes": args.membranes}
    with warnings_as_notes():
        built = {name: build_one(name, given[name], args) for name in SUBJECTS}
    readme = readme_of(SUBJECTS, {name: each.scores for name, each in built.items()}, args.licence)
    networks = {name: each.files for name, each in built.items()}
    package = Package(args.version, args.licence, text, readme, networks)
    for path in (write_wheel(package, args.out), write_sdist(package, args.out)):
        notes.print(f"{path}, {path.stat().st_size / 1e6:.1f} MB", soft_wrap=True)
    return 0


def main() -> int:
    """Exit codes: 0 done, 1 a result cannot be written, 2 bad input."""
    try:
        return run(tyro.cli(Args, prog="python -m tools.weights.build", description=__doc__))
    except InputError as e:
        print(f"tools.weights.build: {e}", file=sys.stderr)
        return 1 if isinstance(e, OutputError) else 2


if __name__ == "__main__":
    use_large_pages()
    sys.exit(main())
