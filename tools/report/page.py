"""Writes a report: report.html, report.json and report.png."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from unet_spec import InputError
from unet_spec.checkpoint import replacing

from .model import Report, printable
from .network import large, plot_network, receptive_field, times
from .picture import error_legend, plot_summary
from .pixels import data_uri, panels
from .plots import WORDS, plot_loss, plot_parity, plot_scores, short
from .style import require, to_png, to_svg

_NAMES = {"iou": "IoU", "v_rand": "V_Rand", "v_info": "V_Info", "adapted_rand_error": "Adapted Rand error"}


def write_report(report: Report, folder: str | os.PathLike[str]) -> Path:
    """Writes report.html, report.json and report.png into `folder`, which is made if need be.

    The page is one file: style, figures and pictures are inside, nothing is fetched and no script runs. The JSON holds
    the same without pixels, null for NaN and infinity. The picture is 1600 pixels wide. Each file appears whole or not
    at all, and none appears unless all could be made.

    Returns:
        The path of report.html.
    Raises InputError: matplotlib or jinja2 is missing, the folder is not writable, a value that JSON cannot hold.
    """
    files = {
        "report.json": json.dumps(report.to_dict(), indent=2, allow_nan=False, ensure_ascii=False) + "\n",
        "report.html": render(report),
        "report.png": to_png(plot_summary(report)),
    }
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            with replacing(path / name) as temporary:
                temporary.write_bytes(content.encode("utf-8", "replace") if isinstance(content, str) else content)
    except OSError as e:
        raise InputError(f"cannot write the report to {folder}: {e.strerror or e}") from None
    return path / "report.html"


def render(report: Report) -> str:
    """The page as text: HTML that is well-formed XML too. Raises InputError without matplotlib or jinja2."""
    jinja2 = require("jinja2")
    markup = require("markupsafe").Markup
    # Records may lack keys, so what is not there is empty text, and None to a filter.
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.ChainableUndefined, trim_blocks=True, lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )  # fmt: skip
    for name, function in _FILTERS.items():
        environment.filters[name] = lambda value, *args, function=function: function(
            None if isinstance(value, jinja2.Undefined) else value, *args
        )
    figures = {}
    if report.facts.get("layers"):
        figures["network"] = plot_network(report.facts)
    if report.log:
        figures |= {"loss": plot_loss(report), "scores": plot_scores(report)}
    if report.parity:
        figures["parity"] = plot_parity(report)
    template = environment.from_string(Path(__file__).with_name("page.html.jinja").read_text(encoding="utf-8"))
    return template.render(
        report=report,
        figures={name: markup(to_svg(figure, name)) for name, figure in figures.items()},
        tiles=tiles(report),
        examples=[
            {
                "name": example.name,
                "error": example.error,
                "pictures": {name: data_uri(picture) for name, picture in panels(example).items()},
                "legend": error_legend(example) if example.label is not None else [],
                "positive": report.class_names[1] if len(report.class_names) == 2 else "",
            }
            for example in report.examples
        ],
        field=receptive_field(report.facts),
        tiling_rows=list(dict.fromkeys([*report.tiling.get("worst_deviation", {}), *report.tiling.get("seconds", {})])),
        total=sum(report.seconds.values()),
        longest=max(report.seconds.values(), default=0) or 1,
    )


def tiles(report: Report) -> list[dict[str, str]]:
    """The headline numbers: {"value", "name", "note"} each, as text."""
    facts, found = report.facts, []

    def add(value: str, name: str, note: str = "") -> None:
        found.append({"value": value, "name": name, "note": note})

    if "parameters" in facts:
        add(
            f"{facts['parameters']:,}",
            "Parameters",
            f"{facts['convolutions']} convolutions" if "convolutions" in facts else "",
        )
    if "macs" in facts:
        add(large(facts["macs"]), "Multiply-adds", f"for one image of {size(facts['input'][:-1])}")
    baseline = report.scores.get("baseline_pixel_accuracy")
    for key, value in report.scores.items():
        if key in ("baseline_pixel_accuracy", "pixel_error") or key.endswith("_threshold"):
            continue  # told with another number, or by it
        note = "on validation images"
        if key == "pixel_accuracy" and baseline is not None:
            note = f"{share(baseline)} if every pixel were the commonest class"
        if threshold := report.scores.get(f"{key}_threshold"):
            note += f", at the threshold {threshold:.2f}"
        add(share(value), _NAMES.get(key, key.replace("_", " ").capitalize()), note)
    if report.parity:
        ran = [row for row in report.parity if row.get("ok") is not None]
        failed = sum(not row["ok"] for row in ran)
        note = f"{len(ran) - failed} of {len(ran)} checks pass"
        note += f", {len(report.parity) - len(ran)} not run" if len(ran) < len(report.parity) else ""
        errors = {_finite(r.get("worst_relative")): r for r in ran}
        worst = max(errors, default=None)
        if worst is not None:
            note = f"{errors[worst].get('runtime', '')} {errors[worst].get('dtype', '')}; {note}".strip()
        add(short(worst) if worst is None or math.isfinite(worst) else "not finite", "Worst parity error", note)
    if deviations := report.tiling.get("worst_deviation"):
        worst = max(map(_finite, deviations.values()))
        add(short(worst) if math.isfinite(worst) else "not finite", "Tiles against whole image",
            f"largest deviation of {report.tiling.get('tiles', '?')} stitched tiles")  # fmt: skip
    return found


def _finite(value: float | None) -> float:
    """The value, or infinity where it is missing or NaN, so that the worst of several tells of it."""
    return math.inf if value is None or math.isnan(value) else float(value)


def share(value: float | None) -> str:
    """A share 0..1 as percent with two digits after the point; "–" for None and NaN."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.2%}"


def agreement(value: float | None) -> str:
    """A share 0..1 as percent that says 100% only where it is; "–" for None and NaN."""
    if value is None or not math.isfinite(value):
        return "–"
    return "100%" if value == 1 else f"{math.floor(value * 1e6) / 1e4:.4f}%"


def size(values: Any) -> str:
    """(572, 572) as "572 × 572"; "–" for None."""
    return "–" if values is None else " × ".join(f"{v}" for v in values)


def seconds(value: float | None) -> str:
    """A duration: "0.41 s", "12.8 s", "2 min 02 s"; "–" for None and NaN."""
    if value is None or not math.isfinite(value):
        return "–"
    if value >= 99.5:
        return f"{round(value) // 60} min {round(value) % 60:02d} s"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def told(value: Any, key: str = "") -> str:
    """Any value of the engine's record as text: "min 1 × 1 × 92 × 92, opt ...", "8.0, 8.6", "2,481,152 bytes"."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key == "seconds" and isinstance(value, int | float):
        return seconds(value)
    if key == "bytes" and isinstance(value, int):
        return f"{value / 1e6:,.1f} MB ({value:,} bytes)"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {told(v, key)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        shape = key == "profile" and value and all(isinstance(v, int) for v in value)
        return size(value) if shape else ", ".join(told(v, key) for v in value)
    return f"{value:,}" if isinstance(value, int) else f"{value}"


_FILTERS: dict[str, Callable[..., str]] = {
    "agreement": agreement,
    "count": lambda n: "–" if n is None else f"{n:,}",
    "operation": lambda kind: kind.replace("_", " "),
    "seconds": seconds,
    "share": share,
    "short": short,
    "size": size,
    "times": times,
    "told": told,
    "verdict": lambda ok: WORDS[None if ok is None else bool(ok)],
}
