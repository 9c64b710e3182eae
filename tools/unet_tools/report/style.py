"""Colours and fonts of the figures, and their conversion from matplotlib to SVG and PNG.

The colours are those of Okabe and Ito (2008), which colour-blind readers can distinguish. In an SVG, each colour
becomes a variable of the page's style sheet, so that a figure works on the light and the dark page.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from unet_spec import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, FAINT = "#1f2328", "#5f6973", "#d5dbe1"
BLUE, VERMILLION, GREEN, PURPLE = "#0072b2", "#d55e00", "#00835d", "#a8518a"
BOX = "#b5d6ea"
VARIABLES = {
    INK: "ink", MUTED: "muted", FAINT: "line", BLUE: "blue", VERMILLION: "vermillion", GREEN: "green",
    PURPLE: "purple", BOX: "box",
}  # fmt: skip
DPI = 200
_STYLE = {
    "font.size": 7.5, "text.color": INK, "text.parse_math": False, "axes.labelcolor": MUTED, "axes.edgecolor": FAINT,
    "axes.facecolor": "none", "axes.linewidth": 0.8, "axes.axisbelow": True, "axes.spines.top": False,
    "axes.spines.right": False, "axes.titlesize": 8.5, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.titlepad": 7, "grid.color": FAINT, "grid.linewidth": 0.5, "legend.fontsize": 6.5, "legend.frameon": False,
    "figure.constrained_layout.h_pad": 0.08, "figure.constrained_layout.w_pad": 0.15,
    "lines.solid_capstyle": "round", "svg.hashsalt": "unet", "svg.fonttype": "path",
    **{f"{axis}tick.{key}": value for axis in "xy" for key, value in {
        "color": FAINT, "labelcolor": MUTED, "labelsize": 6.5, "major.size": 2.5, "major.width": 0.8}.items()},
}  # fmt: skip


def require(module: str) -> Any:
    """Imports a module. If it is missing, raises InputError with the install command."""
    try:
        return import_module(module)
    except ImportError:
        name = module.partition(".")[0]
        raise InputError(f"{name} is not installed; pip install 'unet-twins[report]'") from None


def require_all() -> None:
    """Raises InputError if a package for reports is missing; called before minutes of work."""
    for module in ("matplotlib", "jinja2"):
        require(module)


@contextmanager
def drawing() -> Iterator[None]:
    """Within the block, uses matplotlib's defaults and this style instead of the user's, without warnings about missing
    glyphs."""
    style = require("matplotlib.style")
    with style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        yield


def new_figure(width: float, height: float, layout: str | None = None) -> Figure:
    """An empty figure, `width` by `height` inches, outside of pyplot. Raises InputError without matplotlib."""
    figure_class = require("matplotlib.figure").Figure
    figure: Figure = figure_class(figsize=(width, height), dpi=DPI, facecolor="white", layout=layout)
    require("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    return figure


def to_png(figure: Figure, dpi: int = DPI) -> bytes:
    """The figure as PNG, `dpi` pixels per inch, on white."""
    buffer = io.BytesIO()
    with drawing():
        figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def to_svg(figure: Figure, name: str) -> str:
    """The figure as an <svg> element of the page: transparent, with colours as variables and ids that start with
    `name`.

    Equal figures give equal text.
    """
    buffer = io.StringIO()
    with drawing():
        no_metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'\b(width|height)="[\d.]+pt" ?', "", text, count=2)
    text = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    for color, variable in VARIABLES.items():
        text = text.replace(color, f"var(--{variable})")
    return text.strip()
