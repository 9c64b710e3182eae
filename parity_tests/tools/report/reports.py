"""Reports for the tests, and the texts of their pages."""

import io
from xml.etree import ElementTree

import numpy as np

from unet_data import membranes
from unet_spec import preset
from unet_spec.summary import facts
from unet_tools.report import Example, Report

HOSTILE = "</title><script>alert('x')</script> & $1 \\frac 漢字 \x00 \udcff"
SMALL = preset("paper", widths=(8, 16, 32, 64))


def example(channels: int = 1, classes: int = 2, size: tuple[int, int] = (40, 56)) -> Example:
    data = membranes(1, size, 3, channels=channels)
    assert data.labels is not None
    image, label = data.images[0], data.labels[0]
    prediction = np.roll(label, 1, axis=0)
    prediction[:5, :5] = classes - 1
    return Example("tile <1>", image[..., 0] if channels == 1 else image, label, prediction, label.astype(np.float32))


def check(runtime: str, dtype: str, worst: float | None, bound: float, ok: bool | None, note: str = "") -> dict:
    rms = None if worst is None else worst / 9
    return {
        "runtime": runtime, "dtype": dtype, "compared_with": "NumPy float64", "worst_relative": worst,
        "rms_relative": rms, "label_agreement": None if worst is None else 0.9999991, "bound": bound, "ok": ok,
        "note": note,
    }  # fmt: skip


def tree(page: str) -> ElementTree.Element:
    """The page as XML, which is stricter than HTML: every element closed, every attribute quoted, no stray < or &."""
    assert page.startswith("<!DOCTYPE html>\n")
    return ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))


def text(page: str) -> str:
    return " ".join(" ".join(tree(page).itertext()).split())


def bare(**changes) -> Report:
    return Report(**{"title": "bare", "command": "unet demo", "facts": facts(SMALL, (220, 220)), **changes})


def drawn(figure) -> list[str]:
    """The texts of a drawn figure; checks that they do not overlap or extend beyond the edge."""
    figure.savefig(io.BytesIO(), format="png")
    legend = figure.axes[0].get_legend()
    texts = [t for t in (*figure.axes[0].texts, *(legend.get_texts() if legend else ())) if t.get_text()]
    boxes = [t.get_window_extent() for t in texts]
    for i, (a, one) in enumerate(zip(boxes, texts, strict=True)):
        assert a.x0 >= 0, one
        assert a.y0 >= 0, one
        assert a.x1 <= figure.bbox.x1, one
        assert a.y1 <= figure.bbox.y1, one
        for b, other in list(zip(boxes, texts, strict=True))[i + 1 :]:
            apart = a.x1 <= b.x0 + 2 or b.x1 <= a.x0 + 2 or a.y1 <= b.y0 + 6 or b.y1 <= a.y0 + 6
            assert apart, (one.get_text(), other.get_text())
    printed = [t.get_text() for t in texts]
    return printed + [line for text in printed for line in text.split("\n")]
