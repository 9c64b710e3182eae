"""Writes a report: report.html, report.json and report.png."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unet_spec.errors import OutputError
from unet_spec.files import replacing

from ..console import to_json
from .model import Report
from .network import plot_network
from .objects import KINDS, drawing_of
from .picture import plot_summary
from .pixels import data_uri, error_legend, panels
from .plots import WORDS, draw_loss, draw_parity, draw_scores, draw_series, figure_of, parity_height, series
from .style import require, to_png, to_svg
from .text import agreement, as_text, large, printable, receptive_field, seconds, share, short, size, times

_NAMES = {"iou": "IoU", "v_rand": "V_Rand", "v_info": "V_Info", "adapted_rand_error": "Adapted Rand error"}


def write_report(report: Report, folder: str | os.PathLike[str]) -> Path:
    """Writes report.html, report.json and report.png into `folder`, which is created if missing.

    The page is self-contained: it includes style, figures and pictures, loads nothing and runs no script. The JSON
    contains the same data without pixels, with null for NaN and infinity. The picture is 1600 pixels wide. Files are
    written atomically, and only if all could be made.

    Returns:
        The path of report.html.
    Raises InputError: matplotlib or jinja2 is missing, the folder is not writable.
    """
    files = {
        "report.json": f"{to_json(report.to_dict())}\n".encode(),
        "report.html": render(report).encode("utf-8", "replace"),
        "report.png": to_png(plot_summary(report)),
    }
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            with replacing(path / name) as temporary:
                temporary.write_bytes(content)
    except OSError as e:
        raise OutputError(f"cannot write the report to {folder}: {e.strerror or e}") from None
    return path / "report.html"


def render(report: Report) -> str:
    """The page as HTML text, which is also well-formed XML. Raises InputError without matplotlib or jinja2."""
    jinja2 = require("jinja2")
    markup = require("markupsafe").Markup
    # Records may lack keys: a missing value is empty text, and None for a filter.
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.ChainableUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )  # fmt: skip
    for name, function in _FILTERS.items():
        environment.filters[name] = lambda value, *args, function=function: function(
            None if isinstance(value, jinja2.Undefined) else value, *args
        )
    baseline, tiling = report.scores.get("baseline_pixel_accuracy"), report.tiling
    figures = {}
    if report.facts.get("layers"):
        figures["network"] = plot_network(report.facts)
    if report.log:
        figures["loss"] = figure_of(draw_loss, 4, 2.3, report.log)
        figures["scores"] = figure_of(draw_scores, 4, 2.3, report.log, baseline)
        for name, key in (("rate", "learning_rate"), ("speed", "steps_per_second")):
            if len(series(report.log, key)[0]):
                figures[name] = figure_of(draw_series, 4, 1.6, report.log, key)
    if report.parity:
        figures["parity"] = figure_of(draw_parity, 6, parity_height(report.parity), report.parity)
    template = environment.from_string(Path(__file__).with_name("page.html.jinja").read_text(encoding="utf-8"))
    return template.render(
        report=report,
        figures={name: markup(to_svg(figure, name)) for name, figure in figures.items()},
        tiles=tiles(report),
        examples=[
            {
                "name": example.name,
                "rank": example.rank,
                "error": example.error,
                "pictures": {name: data_uri(picture) for name, picture in panels(example).items()},
                "legend": error_legend(example) if example.label is not None else [],
                "positive": report.class_names[1] if len(report.class_names) == 2 else "",
            }
            for example in report.examples
        ],
        kinds=KINDS,
        outlined=[
            {
                "rank": example.rank,
                "name": example.name,
                "score": example.score,
                "part": example.part,
                "counts": example.outcomes.counts,
                "drawing": markup(drawing_of(example, f"objects-{number}")),
            }
            for number, example in enumerate(report.objects.examples if report.objects else (), start=1)
        ],
        field=receptive_field(report.facts),
        tiling_rows=list(dict.fromkeys([*tiling.get("worst_deviation", {}), *tiling.get("seconds", {})])),
        total=sum(report.seconds.values()),
        longest=max(report.seconds.values(), default=0) or 1,
    )


def tiles(report: Report) -> list[dict[str, str]]:
    """The headline numbers: {"value", "name", "note"} each, as text."""
    rows = []
    baseline = report.scores.get("baseline_pixel_accuracy")
    for key, value in report.scores.items():
        if key in ("baseline_pixel_accuracy", "pixel_error") or key.endswith("_threshold"):
            continue  # another number shows it
        note = "on validation images"
        if key == "pixel_accuracy" and baseline is not None:
            note = f"{share(baseline)} if every pixel were the commonest class"
        if threshold := report.scores.get(f"{key}_threshold"):
            note += f", at the threshold {threshold:.2f}"
        rows.append((share(value), _NAMES.get(key, key.replace("_", " ").capitalize()), note))
    if report.parity:
        ran = [row for row in report.parity if row.get("ok") is not None]
        note = f"{sum(bool(row['ok']) for row in ran)} of {len(ran)} checks pass"
        note += f", {len(report.parity) - len(ran)} not run" if len(ran) < len(report.parity) else ""
        worst = max(ran, key=lambda row: _or_infinity(row.get("worst_relative")), default=None)
        if worst is not None:
            note = f"{worst.get('runtime', '')} {worst.get('dtype', '')}; {note}".strip()
        rows.append((_worst(worst and [worst.get("worst_relative")]), "Worst parity error", note))
    if deviations := report.tiling.get("worst_deviation"):
        note = f"largest deviation of {report.tiling.get('tiles', '?')} stitched tiles"
        rows.append((_worst(deviations.values()), "Tiles against whole image", note))
    facts, network = report.facts, []
    if "parameters" in facts:
        note = f"{facts['convolutions']} convolutions" if "convolutions" in facts else ""
        network.append((f"{facts['parameters']:,}", "Parameters", note))
    if "macs" in facts:
        network.append((large(facts["macs"]), "Multiply-adds", f"for one image of {size(facts['input'][:-1])}"))
    rows = rows + network if report.verdict else network + rows  # for a training run, results come first
    return [dict(zip(("value", "name", "note"), row, strict=True)) for row in rows]


def _or_infinity(value: float | None) -> float:
    """The value, or infinity if it is missing or NaN, so that a maximum shows it."""
    return math.inf if value is None or math.isnan(value) else float(value)


def _worst(values: Any) -> str:
    """The maximum as text; "–" for None."""
    worst = max(map(_or_infinity, values), default=None) if values is not None else None
    return "not finite" if worst == math.inf else short(worst)


_FILTERS: dict[str, Callable[..., str]] = {
    "agreement": agreement,
    "as_text": as_text,
    "count": lambda n: "–" if n is None else f"{n:,}",
    "operation": lambda kind: kind.replace("_", " "),
    "seconds": seconds,
    "sentence": lambda text: "" if text is None else text[:1].upper() + text[1:],
    "share": share,
    "short": short,
    "size": size,
    "times": times,
    "verdict": lambda ok: WORDS[None if ok is None else bool(ok)],
}
