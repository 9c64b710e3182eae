"""The model card of a network of unet-weights, and the readme of the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from unet_spec import Checkpoint
from unet_spec.weights.installed import PACKAGE
from unet_spec.weights.model_card import model_card
from unet_tools.checking.findings import Finding

from .recipes import Parts, Subject


@dataclass(frozen=True)
class Facts:
    """What a card says beside the checkpoint.

    Attributes:
        command: that builds the package.
        steps, seed: of the training.
        made_on: hardware and versions, in words.
        scores: on the images that chose nothing, by measure.
        findings: findings of the comparison of the runtimes.
        objects: how objects are made, in words; None if the labels do not number objects.
    """

    command: str
    steps: int
    seed: int
    made_on: str
    scores: Mapping[str, float]
    findings: tuple[Finding, ...]
    objects: str | None


def card_of(name: str, subject: Subject, checkpoint: Checkpoint, parts: Parts, facts: Facts, licence: str) -> str:
    """Markdown: the card of every checkpoint, then what this one is for, and what came of it."""
    card = model_card(checkpoint.config, checkpoint.data, licence).replace("this/folder", name)
    compared = [f for f in facts.findings if f.worst_relative is not None]
    objects = [f"Objects are made by {facts.objects}; chosen by the validation images.", ""] if facts.objects else []
    lines = [
        "",
        "## What it is for",
        "",
        subject.purpose,
        "",
        "```sh",
        f"unet predict {name} image.png -o mask.png",
        *([f"unet predict {name} image.png -o objects.tif --output objects"] if facts.objects else []),
        f"unet train DATA --out RUN --weights {name}",
        "```",
        "",
        "## Data",
        "",
        f"{subject.data} Licence of the images: {subject.data_licence}. None of them is in this package.",
        "",
        f"Of {sum(map(len, (parts.training, parts.validation, parts.test)))} images, in their order, the first "
        f"{len(parts.training)} trained, the next {len(parts.validation)} chose the checkpoint, and the last "
        f"{len(parts.test)} chose nothing.",
        "",
        *(f"- {reference}" for reference in subject.cite),
        "",
        "## Training",
        "",
        "```sh",
        facts.command,
        "```",
        "",
        f"Recipe modern, {facts.steps} steps, seed {facts.seed}; {facts.made_on}.",
        "",
        f"## Scores on the {len(parts.test)} images that chose nothing",
        "",
        "| measure | value |",
        "|---|---|",
        *(f"| {measure} | {value:.4f} |" for measure, value in facts.scores.items()),
        "",
        *objects,
        "## The same network in each runtime",
        "",
        "Against the float64 NumPy reference, on seeded noise; the error is relative to the largest logit.",
        "",
        "| runtime | dtype | largest error | bound |",
        "|---|---|---|---|",
        *(f"| {f.runtime} | {f.dtype} | {f.worst_relative:.1e} | {f.bound:.1e} |" for f in compared),
        "",
        "## Limits",
        "",
        subject.limits,
    ]
    return card + "\n".join(lines) + "\n"


def readme_of(subjects: Mapping[str, Subject], scores: Mapping[str, Mapping[str, float]], licence: str) -> str:
    """The readme of the package: what is in it, and how it is used."""
    lines = [f"| `{name}` | {subjects[name].purpose} | {scores[name]['iou']:.3f} |" for name in subjects]
    return "\n".join(
        [
            f"# {PACKAGE}",
            "",
            "Networks to start with, for unet-twins: checkpoint folders that `unet` and `from_pretrained` take by",
            "name. Nothing is downloaded when they are used.",
            "",
            "| name | what it segments | mean IoU on images that chose nothing |",
            "|---|---|---|",
            *lines,
            "",
            "```sh",
            *(f"unet predict {name} image.png -o mask.png" for name in subjects),
            "```",
            "",
            "Each folder has `config.json`, `model.safetensors` and its card, `README.md`: data, training, scores,",
            f"limits. Licence of the weights: {licence}. The images that they were trained on are not in this package:",
            "",
            *(f"- {name}: {subject.data_licence}." for name, subject in subjects.items()),
            *(f"  - {reference}" for subject in subjects.values() for reference in subject.cite),
            "",
        ]
    )
