"""Draws a network: a U-Net as in figure 1 of Ronneberger, Fischer and Brox (2015), others block by block.

A picture is a list of boxes and a list of arrows between them, with positions in inches from the lower left corner.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from unet_spec import InputError

from .style import BLUE, BOX, GREEN, INK, MUTED, PURPLE, VERMILLION, drawing, new_figure
from .text import large, receptive_field, size_label, times

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 8.0  # inches
EDGE = 0.3  # inches, margin on either side
_TALLEST = 0.86  # height of the largest map of a U-Net, in inches
_SOLID, _DASHED = "-", (0, (3, 2))

Block = dict[str, Any]


@dataclass
class _Box:
    """A feature map or a block: position in the grid, size (*spatial, C), texts, and centre in the drawing.

    copied: channels from a skip connection; they are drawn empty, as in the paper.
    """

    row: int
    column: int
    size: list[int]
    above: str = ""
    inside: str = ""
    copied: int = 0
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.34


@dataclass
class _Arrow:
    """An arrow between two boxes. `bend`: 0 is straight."""

    start: _Box
    end: _Box
    color: str = MUTED
    line: Any = _SOLID
    label: str = ""
    bend: float = 0.0


@dataclass
class NetworkPicture:
    """Boxes and arrows in WIDTH by `height` inches, made by `picture_of`; see `plot_network`."""

    boxes: list[_Box]
    arrows: list[_Arrow]
    height: float
    text: float  # points
    caption: str  # in the lower right corner
    legend: list[tuple[str, str, Any]] = field(default_factory=list)  # text, colour and line of each kind of arrow
    legend_columns: int = 1

    def draw(self, axes: Axes) -> None:
        """Draws into axes of WIDTH by `height` inches."""
        from matplotlib.lines import Line2D

        axes.set_axis_off()
        axes.set(xlim=(0, WIDTH), ylim=(0, self.height))
        for arrow in self.arrows:
            self._draw_arrow(axes, arrow)
        for box in self.boxes:
            self._draw_box(axes, box)
        caption = {"ha": "right", "va": "bottom", "size": 6.5, "linespacing": 1.6}
        axes.text(WIDTH - EDGE, 0.02, self.caption, color=INK, **caption)
        if self.legend:
            lines = [Line2D([], [], color=c, linestyle=s, linewidth=1.1, label=t) for t, c, s in self.legend]
            where = {"loc": "lower left", "bbox_to_anchor": (EDGE, 0.02), "bbox_transform": axes.transData}
            axes.legend(handles=lines, ncols=self.legend_columns, borderpad=0, borderaxespad=0, **where)

    def _draw_box(self, axes: Axes, box: _Box) -> None:
        from matplotlib.patches import Rectangle

        left, bottom, empty = box.x - box.width / 2, box.y - box.height / 2, box.width * box.copied / box.size[-1]
        edge = {"edgecolor": BLUE, "linewidth": 0.7}
        axes.add_patch(Rectangle((left + empty, bottom), box.width - empty, box.height, facecolor=BOX, **edge))
        if empty:
            axes.add_patch(Rectangle((left, bottom), empty, box.height, facecolor="none", **edge))
        style = {"ha": "center", "size": self.text, "linespacing": 1.0}
        axes.text(box.x, bottom + box.height + 0.025, box.above, va="bottom", color=INK, **style)
        axes.text(box.x, box.y, box.inside, va="center", color=INK, **style)
        axes.text(box.x, bottom - 0.03, size_label(box.size), va="top", color=MUTED, **style)

    def _draw_arrow(self, axes: Axes, arrow: _Arrow) -> None:
        a, b = arrow.start, arrow.end
        if a.column != b.column:
            start, end = (a.x + a.width / 2, a.y), (b.x - b.width / 2, b.y)
        else:  # between the texts of both boxes
            up = 1 if b.row < a.row else -1
            start, end = (a.x, self._outer(a, up)), (b.x, self._outer(b, -up))
        shape = {"arrowstyle": "-|>", "mutation_scale": 5.5, "linewidth": 1.1 if arrow.color != MUTED else 0.8}
        shape |= {"color": arrow.color, "linestyle": arrow.line, "connectionstyle": f"arc3,rad={arrow.bend}"}
        axes.annotate("", end, start, arrowprops={**shape, "shrinkA": 1.0, "shrinkB": 1.0}, zorder=0)
        if arrow.label:
            small = self.text - 0.5
            room = end[0] - start[0] > 0.55 * small * len(arrow.label) / 72
            at = {"ha": "center", "va": "bottom", "size": small, "color": MUTED}
            label = arrow.label if room else arrow.label.split()[-1]
            axes.text((start[0] + end[0]) / 2, start[1] + 0.035, label, **at)

    def _outer(self, box: _Box, up: int) -> float:
        """The outer height of the box with its texts: above it (up 1) or below it (up -1)."""
        lines = 1 if up > 0 else size_label(box.size).count("\n") + 1
        return box.y + up * (box.height / 2 + _line(self.text) * lines + 0.01)


def plot_network(facts: dict[str, Any]) -> Figure:
    """Draws a network, 8 inches wide, without pyplot.

    Args:
        facts: result of `unet_spec.summary.facts`, any number of levels, 2-D or 3-D.

    A U-Net is drawn as a U. A box is a feature map, with its channels above and its size in pixels below; its width
    shows the channels and its height the size, both on compressed scales. In other architectures a box is a block; its
    row shows its size and its column its depth.

    Raises InputError if the layers of a U-Net are not called encoder.i and decoder.i, or if matplotlib is missing.
    """
    with drawing():
        picture = picture_of(facts)
        figure = new_figure(WIDTH, picture.height + 0.1)
        picture.draw(figure.add_axes((0, 0, 1, picture.height / (picture.height + 0.1))))
    return figure


def picture_of(facts: dict[str, Any]) -> NetworkPicture:
    """The boxes and arrows of `plot_network`."""
    other = "blocks" in facts and facts.get("config", {}).get("architecture", "unet") != "unet"
    return _picture_of_blocks(facts) if other else _picture_of_u(facts)


def _picture_of_u(facts: dict[str, Any]) -> NetworkPicture:
    boxes, arrows = _feature_maps(facts["layers"])
    rows, columns = 1 + max(box.row for box in boxes), boxes[-1].column
    pitch = min(0.56, (WIDTH - 2 * EDGE) / max(columns + 0.3, 1))
    channels, pixels = max(box.size[-1] for box in boxes), max(max(box.size[:-1]) for box in boxes)
    text = max(4.6, min(7.0, 17 * pitch))
    for box in boxes:
        box.above = str(box.size[-1])
        box.x = (WIDTH - columns * pitch) / 2 + box.column * pitch
        box.width = pitch * (0.12 + 0.42 * (box.size[-1] / channels) ** 0.5)
        box.height = max(0.09, _TALLEST * (max(box.size[:-1]) / pixels) ** 0.6)
    boxes[0].above, boxes[-1].above = f"input\n{boxes[0].above}", f"output\n{boxes[-1].above}"
    # A deep U has space for legend and caption in its corners; for a shallow one, lines are added below.
    legend = list(_operations(facts))
    room = next(box.x for box in boxes if box.row == max(rows - 2, 0)) - 0.15
    deep = rows >= 4 and EDGE + 0.31 + 0.053 * max(len(kind) for kind, _, _ in legend) < room
    height = 0.02 if deep else 0.58
    lines = max(size_label(box.size).count("\n") + 1 for box in boxes)
    for row in reversed(range(rows)):
        members = [box for box in boxes if box.row == row]
        height += _line(text) * lines + max(box.height for box in members) / 2
        for box in members:
            box.y = height
        height += max(box.height for box in members) / 2 + _line(text) + (0.19 if row else 0)
    return NetworkPicture(boxes, arrows, height + _line(text), text, _caption(facts), legend, 1 if deep else 2)


def _feature_maps(layers: list[dict[str, Any]]) -> tuple[list[_Box], list[_Arrow]]:
    """The maps of a U-Net in order, each in the row of its level, and the arrows between them."""
    depth = 1 + max((int(r["name"].split(".")[1]) for r in layers if r["name"].startswith("encoder.")), default=-1)
    if not depth:
        raise InputError("this network has no layers named encoder.0, encoder.1, ...; its U cannot be drawn")
    boxes, arrows, fitting = [_Box(0, 0, list(layers[0]["output"]))], [], ""
    for layer in layers:
        part, index, *_ = [*layer["name"].split("."), ""]
        kind, last = layer["kind"], boxes[-1]
        row = {"encoder": lambda i: int(i), "decoder": lambda i: depth - 2 - int(i)}.get(part, lambda i: 0)(index)
        box = _Box(row, last.column, list(layer["output"]))
        if kind in ("crop", "pad"):
            fitting = f"{kind} {layer['detail'].split()[0]}" if layer["detail"] else kind
        elif kind == "conv" and row == last.row:  # a convolution after upsampling belongs to the arrow
            box.column += 1
            arrows.append(_Arrow(last, box, BLUE if part in ("encoder", "decoder") else PURPLE))
        elif kind == "max_pool":
            arrows.append(_Arrow(last, box, VERMILLION))
        elif kind == "concat":
            skip = next(other for other in reversed(boxes) if other.row == row)
            box.copied = skip.size[-1]
            arrows += [_Arrow(last, box, GREEN), _Arrow(skip, box, MUTED, _DASHED, fitting)]
            fitting = ""
        if arrows and arrows[-1].end is box:
            boxes.append(box)
    return boxes, arrows


def _picture_of_blocks(facts: dict[str, Any]) -> NetworkPicture:
    """One row per map size; each block is in the column after the last of its inputs."""
    sizes = sorted({tuple(block["output"][:-1]) for block in facts["blocks"]}, reverse=True)
    boxes: dict[str, _Box] = {}
    inputs: list[tuple[_Box, _Box]] = []
    for block in folded(facts["blocks"]):
        sources = [boxes[name] for name in block["inputs"]]
        row, column = sizes.index(tuple(block["output"][:-1])), 1 + max((box.column for box in sources), default=-1)
        # Blocks of the same size and depth, such as the two encoders of a probabilistic network, are drawn side by
        # side.
        while any((box.row, box.column) == (row, column) for box in boxes.values()):
            column += 1
        repeats = f" ×{block['count']}" if block["count"] > 1 else ""
        box = _Box(row, column, block["output"], block["name"] + repeats, str(block["output"][-1]))
        boxes[block["name"]] = box
        inputs += [(source, box) for source in sources]
    pitch, height = (WIDTH - 2 * EDGE) / (1 + max(box.column for box in boxes.values())), len(sizes) * 0.66 + 0.3
    for box in boxes.values():
        box.x, box.y, box.width = EDGE + (box.column + 0.5) * pitch, height - (box.row + 0.5) * 0.66, 0.74 * pitch
    # An arrow within a row bends around the boxes between its ends.
    between = [[x for x in boxes.values() if x.row == a.row == b.row and a.column < x.column < b.column]
               for a, b in inputs]  # fmt: skip
    bends = [-0.55 / (b.column - a.column - 1) if hidden else 0 for (a, b), hidden in zip(inputs, between, strict=True)]
    arrows = [_Arrow(a, b, bend=bend) for (a, b), bend in zip(inputs, bends, strict=True)]
    return NetworkPicture(list(boxes.values()), arrows, height, max(4.0, min(6.5, 8.5 * pitch)), _caption(facts))


def folded(blocks: list[Block]) -> list[Block]:
    """Merges repeated blocks: successive blocks of the same shape whose names differ only in the last number become
    one, with their `count`."""
    result: list[Block] = []
    name_of: dict[str, str] = {}  # the merged block of each block
    for block in blocks:
        stem, _, last = block["name"].rpartition(".")
        before = result[-1] if result else {}
        # The first block of a sequence may have any inputs; each further one follows its predecessor.
        follows = block["inputs"] == [before.get("last")] and last.isdigit()
        if follows and before["stem"] == stem and before["output"] == block["output"]:
            before |= {"count": before["count"] + 1, "last": block["name"], "name": stem}
            for name, own in name_of.items():
                name_of[name] = stem if own.startswith(f"{stem}.") else own
            name_of[block["name"]] = stem
        else:
            name_of[block["name"]] = block["name"]
            result.append({**block, "stem": stem, "count": 1, "last": block["name"]})
    for block in result:
        block["inputs"] = list(dict.fromkeys(name_of[i] for i in block["inputs"]))
    return result


def _operations(facts: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Legend of a U-Net: text, colour and line of each kind of arrow that occurs."""
    kinds = {row["kind"]: row["detail"] for row in reversed(facts["layers"])}  # the first layer of each kind
    suffix = [kinds["activation"].replace("relu", "ReLU")] if "activation" in kinds else []
    norms = [k.replace("_", " ") for k in kinds if k.endswith("_norm")]
    yield " + ".join([f"conv {times(kinds.get('conv', ''))}", *norms, *suffix]), BLUE, _SOLID
    if "concat" in kinds:
        fitted = {"crop": "copy and crop (pixels per side)", "pad": "copy, zero-pad the other (pixels per side)"}
        yield next((text for kind, text in fitted.items() if kind in kinds), "copy"), MUTED, _DASHED
    for kind, text, color in (("max_pool", "max pool", VERMILLION), ("conv_transpose", "up-conv", GREEN),
                              ("upsample", "upsample", GREEN)):  # fmt: skip
        if kind in kinds:
            yield f"{text} {times(kinds[kind].split(' stride')[0])}", color, _SOLID
    if facts["layers"][-1]["name"] == "head":
        yield f"conv {times(facts['layers'][-1]['detail'])}", PURPLE, _SOLID


def _caption(facts: dict[str, Any]) -> str:
    """Parameters, multiply-adds and receptive field, if `facts` has them."""
    lines = [f"{facts['parameters']:,} parameters"] if "parameters" in facts else []
    if "macs" in facts:
        size = size_label(facts["input"]).replace("\n", "")
        lines.append(f"{large(facts['macs'])} multiply-adds at {size}")
    if reach := receptive_field(facts):
        lines.append(f"receptive field {reach} px")
    return "\n".join(lines)


def _line(text: float) -> float:
    """Line spacing, in inches, of text of this size in points."""
    return text * 1.28 / 72
