"""The whole report in one picture, 1600 pixels wide: network, an example, training, parity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .model import Example, Report
from .network import EDGE, WIDTH, draw_network, network_height
from .pixels import FALSE_NEGATIVE, FALSE_POSITIVE, binary, panels
from .plots import VERDICTS, draw_loss, draw_parity, label_width, parity_height
from .style import MUTED, axes_at, drawing, fit, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GAP = 0.12  # inches


def headline(report: Report) -> str:
    """One line of the most telling numbers that there are."""
    told = []
    for key, word in (("pixel_accuracy", "pixel accuracy"), ("iou", "IoU"), ("dice", "Dice")):
        if key in report.scores:
            told.append(f"{word} {report.scores[key]:.3f}")
    if told and "baseline_pixel_accuracy" in report.scores:
        told[0] += f" (one class: {report.scores['baseline_pixel_accuracy']:.3f})"
    ran = [row["ok"] for row in report.parity if row.get("ok") is not None]
    if ran:
        told.append(f"{sum(map(bool, ran))} of {len(ran)} parity checks pass")
    return "   ·   ".join(told)


def error_legend(example: Example) -> list[tuple[str, str]]:
    """[(colour #rrggbb, what it means)] of the panel `errors`."""
    positive, negative = (f"#{bytes(c.tolist()).hex()}" for c in (FALSE_POSITIVE, FALSE_NEGATIVE))
    return [(positive, "false positive"), (negative, "false negative")] if binary(example) else [(positive, "wrong")]


def plot_summary(report: Report) -> Figure:
    """One picture of the report, 8 inches at 200 pixels each; what is empty takes no room.

    Raises InputError without matplotlib, and where the network of `report.facts` is no U.
    """
    line = headline(report)
    network = network_height(report.facts) if report.facts.get("layers") else 0.0
    example = report.examples[0] if report.examples else None
    pictures = list(panels(example).items())[:4] if example else []
    side = (WIDTH - 2 * EDGE - _GAP * (len(pictures) - 1)) / max(len(pictures), 1)
    side = min(side, 2.4, 2.6 * example.image.shape[1] / example.image.shape[0]) if example else 0.0
    tall = side * example.image.shape[0] / example.image.shape[1] if example else 0.0
    plots = max(1.35, parity_height(report.parity)) if report.log or report.parity else 0.0
    top = 0.5 + (0.2 if line else 0)
    bands = [network and network + 0.2, tall and tall + 0.7, plots and plots + 0.75]
    with drawing():
        figure = new_figure(WIDTH, max(1.0, top + sum(bands)))
        across, down = figure.get_size_inches()
        figure.text(EDGE / across, 1 - 0.2 / down, fit(report.title, 64), size=13, weight="bold", va="top")
        figure.text(EDGE / across, 1 - 0.5 / down, line, size=8, color=MUTED, va="top")
        if network:
            draw_network(axes_at(figure, 0, top + 0.08, WIDTH, network), report.facts)
        top += bands[0]
        if example:
            _pictures(figure, example, top + 0.3, side, tall)
        top += bands[1]
        if plots:
            _plots(figure, report, top + 0.22, plots)
    return figure


def _pictures(figure: Figure, example: Example, top: float, side: float, tall: float) -> None:
    for i, (name, picture) in enumerate(list(panels(example).items())[:4]):
        left = EDGE + i * (max(side, 0.95) + _GAP)  # room for the titles of narrow pictures
        axes = axes_at(figure, left, top, side, tall, name.capitalize())
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.imshow(picture, aspect="auto", interpolation="antialiased")
        if name == "image":
            _note(axes, 0.0, fit(example.name, 40), MUTED)
        if name == "errors":
            x = 0.0
            for color, told in error_legend(example):
                _note(axes, x, f"■ {told}", color)
                x += 0.9 / side
            if example.error is not None:
                axes.set_title(
                    f"{example.error:.1%} of pixels", loc="right", pad=7, size=6.5, weight="normal", color=MUTED
                )


def _note(axes: Axes, x: float, told: str, color: str) -> None:
    axes.text(x, -0.05, told, transform=axes.transAxes, size=6.5, color=color, va="top")


def _plots(figure: Figure, report: Report, top: float, height: float) -> None:
    """Training on the left, parity on the right; either alone takes more room."""
    left, ticks = EDGE, 0.32  # inches that the numbers at an axis take
    if report.log:
        width = 2.2 if report.parity else 4.0
        axes = axes_at(figure, left + ticks, top, width, height)
        draw_loss(axes, report.log)
        axes.set_title("Training loss", x=-ticks / width, pad=8)
        left += ticks + width + 0.6
    if report.parity:
        names = label_width(report.parity)
        width = WIDTH - EDGE - left - names - VERDICTS
        axes = axes_at(figure, left + names, top, width, height)
        draw_parity(axes, report.parity, names, width)
        axes.set_title("Distance to the reference", x=-names / width, pad=8)
