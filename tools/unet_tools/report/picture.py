"""The report as one picture, 1600 pixels wide: network, an example, training, parity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .model import Example, Report
from .network import EDGE, WIDTH, picture_of
from .pixels import error_legend, panels
from .plots import draw_loss, draw_parity, parity_height
from .style import MUTED, drawing, new_figure
from .text import fit

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def headline(report: Report) -> str:
    """The most important scores and the number of parity checks that pass, on one line."""
    words = {"pixel_accuracy": "pixel accuracy", "iou": "IoU", "dice": "Dice"}
    parts = [f"{word} {report.scores[key]:.3f}" for key, word in words.items() if key in report.scores]
    if parts and "baseline_pixel_accuracy" in report.scores:
        parts[0] += f" (one class: {report.scores['baseline_pixel_accuracy']:.3f})"
    ran = [row["ok"] for row in report.parity if row.get("ok") is not None]
    if ran:
        parts.append(f"{sum(map(bool, ran))} of {len(ran)} parity checks pass")
    return "   ·   ".join(parts)


def plot_summary(report: Report) -> Figure:
    """Draws the report, 8 inches wide at 200 pixels per inch; empty parts are left out.

    Raises InputError without matplotlib, or if the network of `report.facts` cannot be drawn.
    """
    with drawing():
        network = picture_of(report.facts) if report.facts.get("layers") else None
        example = report.examples[0] if report.examples else None
        heights = {"title": 0.5 + (0.2 if headline(report) else 0)}  # height of each part, in inches
        if network:
            heights["network"] = network.height + 0.2
        if example:
            height, width = example.image.shape[:2]
            heights["example"] = min(1.85 * height / width, 2.6) + 0.75
        if report.log or report.parity:
            heights["plots"] = max(2.1, parity_height(report.parity) + 0.2)
        figure: Any = new_figure(WIDTH, max(1.0, sum(heights.values())), "constrained")
        rows = figure.subfigures(len(heights), 1, height_ratios=list(heights.values()), squeeze=False)[:, 0]
        parts: dict[str, Any] = dict(zip(heights, rows, strict=True))
        title, left = parts["title"], EDGE / 2 / WIDTH
        title.text(left, 1 - 0.2 / heights["title"], fit(report.title, 64), size=13, weight="bold", va="top")
        title.text(left, 1 - 0.5 / heights["title"], headline(report), size=8, color=MUTED, va="top")
        if network:
            network.draw(parts["network"].add_axes((0, 0, 1, network.height / heights["network"])))
        if example:
            _draw_example(parts["example"], example)
        if report.log or report.parity:
            _draw_plots(parts["plots"], report)
    return figure


def _draw_example(figure: Any, example: Example) -> None:
    from matplotlib.patches import Patch

    pictures = list(panels(example).items())[:4]
    for axes, (name, picture) in zip(figure.subplots(1, len(pictures), squeeze=False)[0], pictures, strict=True):
        axes.set(xticks=[], yticks=[], title=name.capitalize())
        axes.spines[:].set_visible(False)
        axes.imshow(picture, interpolation="antialiased")
        if name == "image":
            axes.set_xlabel(fit(example.name, 40), size=6.5, loc="left")
        if name == "errors":
            patches = [Patch(color=color, label=text) for color, text in error_legend(example)]
            place = {"loc": "upper left", "bbox_to_anchor": (0, 0), "borderpad": 0, "borderaxespad": 0.5}
            axes.legend(handles=patches, ncols=2, handlelength=0.8, labelcolor="linecolor", **place)
            if example.error is not None:
                share = f"{example.error:.1%} of pixels"
                axes.set_title(share, loc="right", size=6.5, weight="normal", color=MUTED)


def _draw_plots(figure: Any, report: Report) -> None:
    """Draws training on the left and parity on the right."""
    plots = [(draw_loss, report.log, "Training loss", 2)] if report.log else []
    plots += [(draw_parity, report.parity, "Distance to the reference", 3)] if report.parity else []
    grid = figure.subplots(1, len(plots), squeeze=False, width_ratios=[plot[3] for plot in plots])
    for axes, (draw, values, title, _) in zip(grid[0], plots, strict=True):
        axes.set_title(title)
        draw(axes, values)
