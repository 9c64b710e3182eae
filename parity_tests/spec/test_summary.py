"""The numbers of the paper, of the article and of the widespread variants, all from the graph."""

from __future__ import annotations

import pytest

from unet_spec import preset
from unet_spec.families.unet import PRESETS
from unet_spec.summary import facts, torchinfo

from .. import FIXTURES


def total_macs(config, size):
    return sum(config.graph.macs((size, size)).values())


def test_paper_parameters_macs_and_convolutions():
    values = facts(preset("paper"), (572, 572))
    assert values["parameters"] == 31_030_658
    assert values["macs"] == 150_428_424_448
    assert values["convolutions"] == 23
    assert preset("paper", in_channels=3).graph.parameter_count == 31_031_810


def test_paper_has_every_size_of_figure_1():
    graph = preset("paper").graph
    sizes = {name: shape[0] for name, shape in graph.shapes((572, 572)).items()}
    down = [sizes[f"encoder.{i}.{part}"] for i in range(5) for part in ("conv1", "conv2")]
    assert down == [570, 568, 282, 280, 138, 136, 66, 64, 30, 28]
    assert [sizes[f"encoder.{i}.pool"] for i in range(1, 5)] == [284, 140, 68, 32]
    up = [[sizes[f"decoder.{i}.{part}"] for part in ("up", "block.conv1", "block.conv2")] for i in range(4)]
    assert up == [[56, 54, 52], [104, 102, 100], [200, 198, 196], [392, 390, 388]]
    assert sizes["head"] == 388
    assert preset("paper").geometry.crops() == [4, 16, 40, 88]
    widths = [graph.channels[f"decoder.{i}.concat"] for i in range(4)]
    assert widths == [1024, 512, 256, 128]


def test_paper_receptive_field():
    field = preset("paper").geometry.field()
    assert field is not None
    assert field.widths == {188: 4, 204: 12}
    assert field.reach == (92, 107)
    assert field.period == 16


def test_article_row_for_row():
    table = torchinfo(preset("article").graph, (572, 572))
    lines = (FIXTURES / "article_summary.tsv").read_text().splitlines()[1:]
    shown = ["\t".join((r.layer, r.index, "x".join(map(str, r.shape)), str(r.parameters or ""))) for r in table["rows"]]
    assert shown == lines
    assert table["total_parameters"] == 31_042_369
    assert table["mult_adds"] == 233_389_361_040
    assert round(table["forward_backward_bytes"] / 1e6, 2) == 2683.30
    assert round(table["parameter_bytes"] / 1e6, 2) == 124.17


def test_article_output_and_true_macs():
    assert preset("article").geometry.output_size(572) == 564
    assert preset("article").geometry.margin() == 4
    assert total_macs(preset("article"), 572) == 208_270_013_696


@pytest.mark.parametrize(
    ("name", "changes", "parameters"),
    [
        ("article-bilinear", {}, 17_266_241),
        ("same", {"in_channels": 3}, 31_037_698),
        ("same", {"out_channels": 1}, 31_036_481),
        ("same-bilinear", {"in_channels": 3}, 17_263_042),
        ("same-bilinear", {"out_channels": 1}, 17_261_825),
    ],
)
def test_parameters_of_the_variants(name, changes, parameters):
    assert preset(name, **changes).graph.parameter_count == parameters


def test_article_bilinear_macs():
    assert round(total_macs(preset("article-bilinear"), 572) / 1e9, 2) == 177.28


@pytest.mark.parametrize("name", list(PRESETS))
def test_facts_of_every_preset_add_up(name):
    config = preset(name)
    size = config.geometry.grid().above(300)
    values = facts(config, (size, size))
    assert sum(r["parameters"] for r in values["layers"]) == values["parameters"]
    assert sum(r["macs"] for r in values["layers"]) == values["macs"]
    assert values["output"][0] == size - 2 * values["margin"]
