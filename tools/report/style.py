"""Colours and type of the figures, and the way from a figure to SVG and PNG.

The colours of Okabe and Ito (2008), which colour-blind readers tell apart. In an SVG each becomes a variable of the
page's style sheet, so that one figure serves the light and the dark page.
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

from .model import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, FAINT = "#1f2328", "#5f6973", "#d5dbe1"
BLUE, VERMILLION, GREEN, PURPLE = "#0072b2", "#d55e00", "#00835d", "#a8518a"
BOX = "#b5d6ea"
VARIABLES = {
    INK: "ink", MUTED: "muted", FAINT: "line", BLUE: "blue", VERMILLION: "vermillion", GREEN: "green",
    PURPLE: "purple", BOX: "box",
}  # fmt: skip
DPI = 200


def require(module: str) -> Any:
    """The module. Raises InputError, which says how to install it, where it is missing."""
    try:
        return import_module(module)
    except ImportError:
        name = module.partition(".")[0]
        raise InputError(f"a report needs {name}; install it with: pip install 'unet-twins[report]'") from None


@contextmanager
def drawing() -> Iterator[None]:
    """Matplotlib's own defaults instead of the user's, our type, and no word about letters that a font lacks."""
    style = require("matplotlib.style")
    ours = {
        "font.size": 7.5, "text.color": INK, "axes.labelcolor": MUTED, "axes.edgecolor": FAINT,
        "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelsize": 6.5, "ytick.labelsize": 6.5,
        "axes.linewidth": 0.8, "axes.axisbelow": True,
        "axes.titlesize": 8.5, "axes.titleweight": "bold", "axes.titlelocation": "left",
        "lines.solid_capstyle": "round", "svg.hashsalt": "unet", "svg.fonttype": "path", "text.parse_math": False,
    }  # fmt: skip
    with style.context(["default", ours]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, `width` by `height` inches, outside of pyplot. Raises InputError without matplotlib."""
    figure: Figure = require("matplotlib.figure").Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    require("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    return figure


def axes_at(figure: Figure, left: float, top: float, width: float, height: float, title: str = "") -> Axes:
    """Axes whose frame is at this place, in inches from the figure's upper left corner, with a title above."""
    across, down = figure.get_size_inches()
    axes = figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))
    axes.set_facecolor("none")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=2.5, width=0.8, color=FAINT)
    if title:
        axes.set_title(title, pad=7)
    return axes


def fit(text: str, most: int) -> str:
    """The text on one line of at most `most` letters."""
    text = " ".join(printable(text).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def to_png(figure: Figure, dpi: int = DPI) -> bytes:
    """The figure as PNG, `dpi` pixels per inch, on white."""
    buffer = io.BytesIO()
    with drawing():
        figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def to_svg(figure: Figure, name: str) -> str:
    """The figure as an <svg> element for our page: transparent, our colours as variables, ids that begin with `name`.

    The same figure gives the same text.
    """
    buffer = io.StringIO()
    with drawing():
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'(<svg [^>]*?) width="[\d.]+pt" height="[\d.]+pt"|(<svg [^>]*)', r"\1\2", text, count=1)
    text = re.sub(r'\b(width|height)="[\d.]+pt" ?', "", text, count=2)
    text = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    for color, variable in VARIABLES.items():
        text = text.replace(color, f"var(--{variable})")
    return text.strip()
