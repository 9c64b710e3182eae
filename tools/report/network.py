"""The network as a U, as figure 1 of Ronneberger, Fischer and Brox (2015) draws it, from its table of layers.

What is no U-Net is drawn block by block, see `blocks`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from unet_spec import InputError

from .blocks import blocks_height, draw_blocks
from .style import BLUE, BOX, GREEN, INK, MUTED, PURPLE, VERMILLION, axes_at, drawing, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 8.0  # inches
EDGE = 0.3  # inches, free on either side
_TALLEST = 0.86  # inches, of the largest map
_ARROW = 0.19  # inches, between two levels


@dataclass
class _Map:
    """One feature map: size (*spatial, C), its column, and its box once placed (centre and extent, inches)."""

    size: list[int]
    column: int
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0


@dataclass
class _Level:
    """A row of the U: maps on the way down, maps on the way up, and how the skip between them is fitted."""

    down: list[_Map] = field(default_factory=list)
    up: list[_Map] = field(default_factory=list)
    copied: int = 0
    fitting: str = ""


def _levels(layers: list[dict[str, Any]]) -> tuple[list[_Level], list[_Map]]:
    """The rows from the finest to the bottleneck, and the output of the head if there is one."""
    depth = 1 + max((int(r["name"].split(".")[1]) for r in layers if r["name"].startswith("encoder.")), default=-1)
    if not depth:
        raise InputError("this network has no layers called encoder.0, encoder.1, ...; there is no U to draw")
    levels, head = [_Level() for _ in range(depth)], []
    column, before, size = 0, "", list(layers[0]["output"])
    for row in layers:
        name, kind, output = row["name"], row["kind"], list(row["output"])
        part = ".".join(name.split(".")[:2])
        if name.startswith("encoder."):
            level = levels[int(name.split(".")[1])]
            if part == "encoder.0" and not level.down:
                level.down.append(_Map(size, column))
            if kind == "conv":
                column += 1
            if kind in ("conv", "max_pool"):
                level.down.append(_Map(output, column))
        elif name.startswith("decoder."):
            level = levels[depth - 2 - int(name.split(".")[1])]
            if kind in ("crop", "pad"):
                level.fitting = f"{kind} {row['detail'].split()[0]}" if row["detail"] else kind
            elif kind == "concat":
                level.up.append(_Map(output, column))
                level.copied = level.down[-1].size[-1]
            elif kind == "conv" and level.up:
                column += 1
                level.up.append(_Map(output, column))
        elif kind == "conv" and before:
            column += 1
            head.append(_Map(output, column))
        before = part
    return levels, head


class _Layout:
    """Where everything is, in inches from the lower left corner, for a drawing `width` inches wide."""

    def __init__(self, facts: dict[str, Any], width: float):
        self.levels, self.head = _levels(facts["layers"])
        self.width = width
        maps = [*itertools.chain(*(level.down + level.up for level in self.levels)), *self.head]
        columns = maps[-1].column
        self.pitch = min(0.56, (width - 2 * EDGE) / max(columns + 0.3, 1))
        self.text = max(4.6, min(7.0, 17 * self.pitch))
        self.line = self.text * 1.28 / 72
        most, largest = max(m.size[-1] for m in maps), max(max(m.size[:-1]) for m in maps)
        left = (width - columns * self.pitch) / 2
        for m in maps:
            m.x = left + m.column * self.pitch
            m.width = self.pitch * (0.12 + 0.42 * (m.size[-1] / most) ** 0.5)
            m.height = max(0.09, _TALLEST * (max(m.size[:-1]) / largest) ** 0.6)
        # In a deep U the corners have room for legend and facts; under a shallow one they get lines of their own.
        wide = EDGE + 0.31 + 0.053 * max(len(told) for told, _, _ in _operations(facts))
        self.deep = len(self.levels) >= 4 and wide < self.levels[-2].down[0].x - 0.15
        self.rows = max(len(size_label(m.size).split("\n")) for m in maps)
        self.height = self.line  # "input" and "output" above the first row
        for i, level in enumerate(self.levels):
            row = [*level.down, *level.up, *(self.head if i == 0 else [])]
            tall = max(m.height for m in row)
            self.height += self.line + tall / 2
            for m in row:
                m.y = self.height
            self.height += tall / 2 + self.line * self.rows + (_ARROW if i + 1 < len(self.levels) else 0.02)
        if not self.deep:
            self.height += 0.56
        for m in maps:
            m.y = self.height - m.y


def size_label(size: list[int]) -> str:
    """ "572²" for a square map (*spatial, C), "64³" for a cube, one line per axis for others."""
    spatial = size[:-1]
    if len(set(spatial)) == 1:
        return f"{spatial[0]}{' ²³'[len(spatial) - 1]}".strip()
    return "\n×".join(map(str, spatial))


def large(count: int) -> str:
    """150428424448 as "150.4 G", 235671328 as "235.7 M"; below a million as it is."""
    return f"{count / 1e9:,.1f} G" if count >= 1e9 else f"{count / 1e6:,.1f} M" if count >= 1e6 else f"{count:,}"


def times(detail: str) -> str:
    """ "3x3 valid" as "3×3 valid", "x2 linear" as "×2 linear"."""
    return re.sub(r"(\d|^)x(?=\d)", r"\1×", detail)


def network_height(facts: dict[str, Any], width: float = WIDTH) -> float:
    """Inches that `draw_network` needs from top to bottom at this width."""
    if _other(facts):
        return blocks_height(facts)
    return _Layout(facts, width).height


def draw_network(axes: Axes, facts: dict[str, Any], width: float = WIDTH) -> None:
    """Draws into axes that are `width` by `network_height(facts, width)` inches."""
    if _other(facts):
        draw_blocks(axes, facts, width, _told(facts))
        return
    layout = _Layout(facts, width)
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(0, layout.height))
    for level in layout.levels:
        for m in level.down + level.up:
            _box(axes, m, layout, level.copied if level.up and m is level.up[0] else 0)
        for a, b in (*itertools.pairwise(level.down), *itertools.pairwise(level.up)):
            _arrow(axes, (a.x + a.width / 2, a.y), (b.x - b.width / 2, b.y), BLUE)
        if level.up:
            _skip(axes, level, layout)
    for above, below in itertools.pairwise(layout.levels):
        a, b = above.down[-1], below.down[0]
        _arrow(axes, (a.x, _below(a, layout)), (b.x, b.y + b.height / 2 + layout.line), VERMILLION)
        if above.up:
            a, b = (below.up or below.down)[-1], above.up[0]
            _arrow(axes, (a.x, a.y + a.height / 2 + layout.line), (b.x, _below(b, layout)), GREEN)
    last = (layout.levels[0].up or layout.levels[0].down)[-1]
    for m in layout.head:
        _box(axes, m, layout)
        _arrow(axes, (last.x + last.width / 2, last.y), (m.x - m.width / 2, m.y), PURPLE)
        last = m
    for m, word in ((layout.levels[0].down[0], "input"), (last, "output")):
        y = m.y + m.height / 2 + layout.line
        axes.text(m.x, y + 0.01, word, ha="center", va="bottom", size=layout.text, color=MUTED)
    _legend(axes, facts, layout)
    _caption(axes, facts, layout)


def plot_network(facts: dict[str, Any]) -> Figure:
    """The network as a U: boxes are feature maps, with their channels above and their size in pixels below. Other
    architectures are drawn as `blocks.draw_blocks` does.

    facts: of `unet_spec.summary.facts`, any number of levels, 2-D or 3-D. A box is as wide as its channels and as high
    as its size tell, both compressed. The figure is 8 inches wide and free of pyplot.

    Raises InputError where the layers are not called encoder.i and decoder.i, and without matplotlib.
    """
    with drawing():
        height = network_height(facts)
        figure = new_figure(WIDTH, height + 0.1)
        draw_network(axes_at(figure, 0, 0.05, WIDTH, height), facts)
    return figure


def _below(m: _Map, layout: _Layout) -> float:
    return m.y - m.height / 2 - layout.line * len(size_label(m.size).split("\n")) - 0.015


def _box(axes: Axes, m: _Map, layout: _Layout, copied: int = 0) -> None:
    """A feature map; of a concatenation, the `copied` channels are left empty, as in the paper."""
    from matplotlib.patches import Rectangle

    left, bottom, channels = m.x - m.width / 2, m.y - m.height / 2, m.size[-1]
    empty = m.width * copied / channels
    edge = {"edgecolor": BLUE, "linewidth": 0.7}
    axes.add_patch(Rectangle((left + empty, bottom), m.width - empty, m.height, facecolor=BOX, **edge))
    if empty:
        axes.add_patch(Rectangle((left, bottom), empty, m.height, facecolor="none", **edge))
    style = {"ha": "center", "size": layout.text}
    axes.text(m.x, bottom + m.height + 0.025, str(channels), va="bottom", color=INK, **style)
    axes.text(m.x, bottom - 0.03, size_label(m.size), va="top", color=MUTED, linespacing=1.0, **style)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], color: str, dashed: bool = False) -> None:
    shape = {"arrowstyle": "-|>", "mutation_scale": 5.5, "shrinkA": 1.2, "shrinkB": 1.2, "linewidth": 1.1}
    axes.annotate("", end, start, arrowprops={**shape, "color": color, "linestyle": (0, (3, 2)) if dashed else "-"})


def _skip(axes: Axes, level: _Level, layout: _Layout) -> None:
    a, b = level.down[-1], level.up[0]
    start, end = a.x + a.width / 2, b.x - b.width / 2
    _arrow(axes, (start, a.y), (end, b.y), MUTED, dashed=True)
    if level.fitting:
        small = layout.text - 0.5
        room = end - start > 0.55 * small * len(level.fitting) / 72
        at = {"ha": "center", "va": "bottom", "size": small, "color": MUTED}
        axes.text((start + end) / 2, a.y + 0.035, level.fitting if room else level.fitting.split()[-1], **at)


def _operations(facts: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """(what an arrow stands for, its colour, whether it is dashed), for the kinds of layers that there are."""
    kinds = {row["kind"]: row["detail"] for row in reversed(facts["layers"])}
    convolution = next((r["detail"] for r in facts["layers"] if r["kind"] == "conv"), "")
    then = [kinds["activation"].replace("relu", "ReLU")] if "activation" in kinds else []
    norms = [k.replace("_", " ") for k in kinds if k.endswith("_norm")]
    yield " + ".join([f"conv {times(convolution)}", *norms, *then]), BLUE, False
    if "concat" in kinds:
        fitted = {"crop": "copy and crop (pixels a side)", "pad": "copy, zero-pad the other (pixels a side)"}
        yield next((told for kind, told in fitted.items() if kind in kinds), "copy"), MUTED, True
    for kind, told, color in (("max_pool", "max pool", VERMILLION), ("conv_transpose", "up-conv", GREEN),
                              ("upsample", "upsample", GREEN)):  # fmt: skip
        if kind in kinds:
            yield f"{told} {times(kinds[kind].split(' stride')[0])}", color, False
    if facts["layers"][-1]["name"] == "head":
        yield f"conv {times(facts['layers'][-1]['detail'])}", PURPLE, False


def _legend(axes: Axes, facts: dict[str, Any], layout: _Layout) -> None:
    """In the lower left corner of a deep U; under a shallow one in two columns."""
    items, step = list(_operations(facts)), 0.145
    for i, (told, color, dashed) in enumerate(items):
        x = EDGE if layout.deep else EDGE + (i // 3) * 2.75
        y = 0.06 + step * ((len(items) - 1 - i) if layout.deep else 2 - i % 3)
        _arrow(axes, (x, y), (x + 0.24, y), color, dashed)
        axes.text(x + 0.31, y, told, va="center", size=6.5, color=INK)


def _other(facts: dict[str, Any]) -> bool:
    """Whether this is another architecture than the U-Net, whose blocks are known."""
    return "blocks" in facts and facts.get("config", {}).get("architecture", "unet") != "unet"


def _told(facts: dict[str, Any]) -> list[str]:
    """What follows from the layers."""
    size = size_label(facts["input"]).replace("\n", "") if "input" in facts else ""
    lines = [f"{facts['parameters']:,} parameters"] if "parameters" in facts else []
    if "macs" in facts:
        lines.append(f"{large(facts['macs'])} multiply-adds at {size}")
    if reach := receptive_field(facts):
        lines.append(f"receptive field {reach} px")
    return lines


def _caption(axes: Axes, facts: dict[str, Any], layout: _Layout) -> None:
    """In the lower right corner: what follows from the layers."""
    lines = _told(facts)
    for i, line in enumerate(reversed(lines)):
        axes.text(layout.width - EDGE, 0.06 + 0.145 * i, line, ha="right", va="center", size=6.5, color=INK)


def receptive_field(facts: dict[str, Any]) -> str:
    """ "188–204", the least and the greatest number of pixels per axis that an output depends on; "" if unknown."""
    widths = [int(w) for w in (facts.get("receptive_field") or {}).get("widths", {})]
    return f"{min(widths)}–{max(widths)}".replace(f"{min(widths)}–{min(widths)}", str(min(widths))) if widths else ""
