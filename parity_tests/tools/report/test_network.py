"""The figure of a network."""

import pytest

from unet_spec import InputError, narrow, preset
from unet_spec.summary import facts
from unet_tools.report import plot_network

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
from ...fixtures.drawings import described, figures, record
from .reports import drawn


@pytest.mark.parametrize("name", ["transunet", "probabilistic-unet", "fcn-8s"])
def test_the_picture_of_a_network_that_is_no_u(name):
    """Every block has a separate place, and repetitions are shown."""
    from matplotlib.patches import Rectangle

    from unet_tools.report.network import folded, plot_network

    values = facts(narrow(name), (240, 240))
    figure = plot_network(values)
    boxes = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    assert len(boxes) == len(folded(values["blocks"]))
    assert len({(round(p.get_x(), 3), round(p.get_y(), 3)) for p in boxes}) == len(boxes)
    printed = {text.get_text() for text in figure.axes[0].texts}
    assert ("layers ×2" in printed) == (name == "transunet")


@pytest.mark.parametrize("levels", range(2, 8))
def test_network_of_any_depth(levels):
    config = preset("paper", widths=(8, 16, 32, 64, 128, 256, 512)[:levels])
    size = config.geometry.grid().above(800)
    printed = drawn(plot_network(facts(config, (size, size))))
    assert [f"crop {n}" in printed for n in config.geometry.crops()] == [True] * (levels - 1)
    assert f"{size}²" in printed
    assert printed.count("16") >= 3  # encoder.1 twice; the concatenation of decoder's last level
    assert f"{config.graph.parameter_count:,} parameters" in printed


def test_network_of_one_level():
    values = facts(preset("paper", widths=(8, 16)), (60, 60))
    values["layers"] = [r for r in values["layers"] if r["name"].startswith(("input", "encoder.0", "head"))]
    assert "60²" in drawn(plot_network(values))


@pytest.mark.parametrize(
    ("name", "size", "changes", "expected"),
    [
        ("article", (572, 572), {}, ["pad 8", "conv 3×3 valid + batch norm + ReLU"]),
        ("same-bilinear", (64, 96), {}, ["64\n×96", "upsample ×2 linear, aligned corners", "copy"]),
        ("same", (32, 32, 32), {"spatial_dims": 3}, ["32³", "up-conv 2×2×2", "conv 3×3×3 + batch norm + ReLU"]),
    ],
)
def test_network_of_other_kinds(name, size, changes, expected):
    printed = drawn(plot_network(facts(preset(name, **changes), size)))
    assert set(expected) <= set(printed)


def test_network_that_is_no_u():
    with pytest.raises(InputError, match=r"no layers named encoder\.0"):
        plot_network({"layers": [{"name": "conv", "kind": "conv", "detail": "", "output": [1, 1, 1]}]})


@pytest.mark.parametrize(
    "name", ["a U that crops", "a deep U", "a shallow U of a volume", "blocks side by side", "blocks in a row"]
)
def test_every_box_arrow_and_text_of_a_network_is_the_recorded_one(name):
    """After a change that is meant: python -m parity_tests.fixtures.drawings."""
    assert described(figures()[name]()) == record()[name]


def test_the_lines_of_the_legend_are_those_of_the_arrows():
    from unet_tools.report.network import picture_of

    picture = picture_of(facts(preset("paper", widths=(2, 4)), (28, 28)))
    in_legend = {(color, line) for _, color, line in picture.legend}
    assert {(arrow.color, arrow.line) for arrow in picture.arrows} == in_legend
    figure = plot_network(facts(preset("paper", widths=(2, 4)), (28, 28)))
    handles = figure.axes[0].get_legend().legend_handles
    assert [(h.get_color(), h.is_dashed()) for h in handles] == [(c, line != "-") for _, c, line in picture.legend]
