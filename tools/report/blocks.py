"""A network of any shape: its blocks in the order in which they run, one row for every size of the maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .style import BLUE, BOX, INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EDGE = 0.3  # inches, free on either side
_TALL = 0.34  # inches, of a block

Block = dict[str, Any]


def folded(blocks: list[Block]) -> list[Block]:
    """Without repetitions: blocks in a row, of one shape, whose names differ in the last number only, become one, with
    `count` of them."""
    result: list[Block] = []
    name_of: dict[str, str] = {}  # of every block, the one that now stands for it
    for block in blocks:
        stem, _, last = block["name"].rpartition(".")
        before = result[-1] if result else {}
        # The first of a row may come from elsewhere; the others follow the one before them.
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


def blocks_height(facts: dict[str, Any]) -> float:
    """Inches from top to bottom that `draw_blocks` needs."""
    return len(_sizes(facts["blocks"])) * _row_height(facts) + 0.5


def _row_height(facts: dict[str, Any]) -> float:
    """Inches from one size to the next."""
    return max(0.5, min(0.66, 5.0 / len(_sizes(facts["blocks"]))))


def draw_blocks(axes: Axes, facts: dict[str, Any], width: float, told: list[str]) -> None:
    """Draws into axes that are `width` by `blocks_height(facts)` inches. told: lines for the lower right corner."""
    from matplotlib.patches import Rectangle

    height, step, blocks = blocks_height(facts), _row_height(facts), folded(facts["blocks"])
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(0, height))
    rows = {size: i for i, size in enumerate(_sizes(facts["blocks"]))}
    place: dict[str, tuple[int, int]] = {}
    for block in blocks:
        column, row = 1 + max((place[i][0] for i in block["inputs"]), default=-1), rows[tuple(block["output"][:-1])]
        # Two blocks of one size and depth, such as the two encoders of a probabilistic network, stand side by side.
        while (column, row) in place.values():
            column += 1
        place[block["name"]] = (column, row)
    pitch = (width - 2 * EDGE) / (1 + max(column for column, _ in place.values()))
    small = max(4.0, min(6.5, 8.5 * pitch))
    at = {n: (EDGE + (c + 0.5) * pitch, height - 0.2 - (r + 0.5) * step) for n, (c, r) in place.items()}
    wide = 0.74 * pitch
    for block in blocks:
        x, y = at[block["name"]]
        for source in block["inputs"]:
            start = (at[source][0] + wide / 2, at[source][1])
            shape = {"arrowstyle": "-|>", "mutation_scale": 5, "linewidth": 0.7, "color": MUTED, "shrinkA": 0.5}
            between = range(place[source][0] + 1, place[block["name"]][0])
            hidden = place[source][1] == place[block["name"]][1] and any(
                (c, place[source][1]) in place.values() for c in between
            )
            shape |= {"shrinkB": 0.5, "connectionstyle": f"arc3,rad={-0.55 / max(len(between), 1) if hidden else 0}"}
            axes.annotate("", (x - wide / 2, y), start, arrowprops=shape, zorder=0)
        edge = {"edgecolor": BLUE, "linewidth": 0.7}
        axes.add_patch(Rectangle((x - wide / 2, y - _TALL / 2), wide, _TALL, facecolor=BOX, **edge))
        times = f" ×{block['count']}" if block["count"] > 1 else ""
        style = {"ha": "center", "size": small}
        axes.text(x, y + _TALL / 2 + 0.02, block["name"] + times, va="bottom", color=INK, **style)
        axes.text(x, y, str(block["output"][-1]), va="center", color=INK, **style)
    for size, row in rows.items():
        label = "×".join(map(str, size))
        axes.text(0.02, height - 0.2 - (row + 0.5) * step - _TALL / 2 - 0.02, label, va="top", size=5.5, color=MUTED)
    for i, line in enumerate(reversed(told)):
        axes.text(width - EDGE, 0.06 + 0.145 * i, line, ha="right", va="center", size=6.5, color=INK)


def _sizes(blocks: list[Block]) -> list[tuple[int, ...]]:
    """The sizes of the maps in pixels per axis, the largest first."""
    return sorted({tuple(block["output"][:-1]) for block in blocks}, reverse=True)
