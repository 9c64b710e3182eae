"""Draws docs/assets/geometry.svg and docs/assets/overlap_tile.svg from the geometry of the paper's network.

python docs/generate/figures.py
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib

from unet_spec import preset
from unet_spec.tiling.tiles import plan_tiles, tile_stride

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

ASSETS = Path(__file__).parents[1] / "assets"
PAPER = preset("paper")
INK, BLUE, RED, GREY = "#2b3a42", "#0b7a75", "#c8553d", "#9aa5a9"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "unet",
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans", "sans-serif"],
    "font.size": 11,
    "text.color": INK,
}


def svg(figure: Any) -> str:
    """The figure as text, the same each time."""
    with io.StringIO() as out:
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
        plt.close(figure)
        return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def geometry(size: int = 572) -> str:
    """Every size on the way through the network, as figure 1 of the paper has them, and the crops of the skips."""
    sizes = PAPER.graph.sizes(0, size)
    levels = range(len(PAPER.widths))
    last = len(PAPER.widths) - 1
    with plt.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=(9.6, 5.2), layout="constrained")
        for level in levels:
            start = "input" if level == 0 else f"encoder.{level}.pool"
            down = [sizes[start], sizes[f"encoder.{level}.conv1"], sizes[f"encoder.{level}.conv2"]]
            _row(ax, 0.9 * level, -level, down, BLUE)
            if level == last:
                continue
            up = f"decoder.{last - 1 - level}"
            path = [sizes[f"{up}.up"], sizes[f"{up}.block.conv1"], sizes[f"{up}.block.conv2"]]
            right = 11.2 - 0.9 * level
            _row(ax, right, -level, path, RED)
            cut = (down[-1] - path[0]) // 2
            ax.annotate(
                "", (right - 0.12, -level), (0.9 * level + 2.75, -level), arrowprops={"arrowstyle": "->", "color": GREY}
            )
            middle = (right + 0.9 * level + 2.63) / 2
            ax.text(middle, -level + 0.09, f"cut {cut} px from each side", ha="center", color=INK, fontsize=10)
            ax.annotate(
                "pool /2",
                (0.9 * level + 1.0, -level - 0.68),
                (0.9 * level + 0.55, -level - 0.45),
                fontsize=9,
                color=BLUE,
            )
            ax.text(right + 1.15, -level - 0.5, "up ×2", fontsize=9, color=RED)
        ax.text(0.1, 0.62, f"image: {size} pixels", color=BLUE, weight="bold")
        ax.text(13.9, 0.62, f"result: {PAPER.geometry.output_size(size)} pixels", ha="right", color=RED, weight="bold")
        ax.text(
            7,
            -last - 0.75,
            "Each 3x3 convolution without padding takes 1 pixel from each side: 2 from the size.",
            ha="center",
        )
        ax.set_xlim(-0.1, 14.1)
        ax.set_ylim(-last - 0.95, 0.9)
        ax.axis("off")
        return svg(figure)


def _row(ax: Any, x: float, y: float, sizes: list[int], color: str) -> None:
    for i, size in enumerate(sizes):
        ax.add_patch(Rectangle((x + 0.95 * i, y - 0.22), 0.75, 0.44, color=color, alpha=0.16 + 0.12 * i, lw=0))
        ax.text(x + 0.95 * i + 0.375, y, str(size), ha="center", va="center", weight="bold" if i == 2 else "normal")
        if i:
            ax.text(x + 0.95 * i - 0.1, y, "›", ha="center", va="center", color=GREY)


def overlap_tile(image: int = 772, size: int = 572) -> str:
    """An image, its mirrored border, and two of its tiles: what each one reads, and what is kept of its result."""
    margin, step = PAPER.geometry.margin(), tile_stride(PAPER.geometry, size)
    tiles = plan_tiles(PAPER.geometry, (image, image), size)
    whole = image + 2 * margin
    with plt.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=(9.6, 5.4), layout="constrained")
        ax.add_patch(Rectangle((-margin, -margin), whole, whole, fc="#eef1f2", ec=GREY, ls=":"))
        ax.add_patch(Rectangle((0, 0), image, image, fc="white", ec=INK, lw=1.6))
        ax.text(image / 2, image + margin / 2, f"mirrored border, {margin} px", ha="center", va="center")
        for number, color in enumerate((BLUE, RED)):
            tile = tiles[number]
            (top, left), (rows, columns) = tile.start, tile.target
            ax.add_patch(Rectangle((left, top), size, size, fill=False, ec=color, lw=2, ls="--"))
            width = columns.stop - columns.start
            ax.add_patch(Rectangle((columns.start, rows.start), width, rows.stop, fc=color, alpha=0.25, lw=0))
            place = (columns.start + width / 2, rows.stop / 2)
            ax.text(*place, f"kept of\ntile {number + 1}", ha="center", va="center", color=color, weight="bold")
        lines = (
            f"dashed: what a tile reads, {size} px",
            "filled: what is kept of its result",
            "",
            f"The result of a tile has {PAPER.geometry.output_size(size)} px.",
            f"Tiles start every {step} px, a multiple of {step_of_pooling()},",
            "so that every pooling window covers",
            "the same pixels as in the whole image.",
            "",
            f"{len(tiles)} tiles make this image of {image} px.",
        )
        for i, line in enumerate(lines):
            ax.text(whole - margin + 60, 60 + 62 * i, line, va="center")
        ax.set_xlim(-margin - 12, whole + 640)
        ax.set_ylim(image + margin + 12, -margin - 12)
        ax.set_aspect("equal")
        ax.axis("off")
        return svg(figure)


def step_of_pooling() -> int:
    """Pixels of the image for one of the coarsest map."""
    return PAPER.geometry.grid().step


FIGURES = {"geometry.svg": geometry, "overlap_tile.svg": overlap_tile}

if __name__ == "__main__":
    for name, draw in FIGURES.items():
        (ASSETS / name).write_text(draw(), encoding="utf-8")
