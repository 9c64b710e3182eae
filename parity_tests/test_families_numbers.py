"""Parameters, multiply-adds and sizes of the reference networks, from their graphs alone; and what is said of them."""

import ast
import math
from pathlib import Path

import pytest

import unet_spec
from unet_spec import FAMILY_PRESETS, InputError, NetworkConfig, preset
from unet_spec.summary import facts

FILES = Path(unet_spec.__file__).parent / "families"
ROOMS = ("unet_spec", "unet_jax", "unet_torch")

NUMBERS = [
    # preset, changes, parameters
    ("unet++", {}, 9_163_329),
    ("unet++", {"in_channels": 1}, 9_162_753),
    ("unet++-deep", {}, 9_163_428),
    ("attention-unet", {}, 31_739_250),
    ("multiresunet", {}, 7_238_228),
    ("sa-unet", {}, 537_299),
    ("m-net", {}, 8_547_720),
    ("m-net", {"in_channels": 1, "out_channels": 1}, 8_538_596),
    ("probabilistic-unet", {}, 4_999_449),
    ("transunet", {}, 105_277_081),
    ("fcn-8s", {}, 134_489_759),
    ("fcn-8s", {"out_channels": 2, "learn_upsampling": True}, 134_271_430),
]


@pytest.mark.parametrize(("name", "changes", "parameters"), NUMBERS)
def test_parameters(name, changes, parameters):
    assert preset(name, **changes).graph.parameter_count == parameters


PARTS = [
    ("multiresunet", "", "buffer", 24_522),
    ("fcn-8s", "up", "fixed", 127_008),
    ("probabilistic-unet", "unet.", "parameter", 2_260_128),
    ("probabilistic-unet", "prior.", "parameter", 1_367_820),
    ("probabilistic-unet", "posterior.", "parameter", 1_368_108),
    ("probabilistic-unet", "fcomb.", "parameter", 3_393),
    ("transunet", ("root.", "stages."), "parameter", 11_894_848),
    ("transunet", "patch.", "parameter", 787_200),
    ("transunet", "position.", "parameter", 150_528),
    ("transunet", "layers.", "parameter", 85_054_464),
    ("transunet", "norm.", "parameter", 1_536),
    ("transunet", "more.", "parameter", 3_539_968),
    ("transunet", "decoder.0.", "parameter", 2_950_144),
    ("transunet", "decoder.1.", "parameter", 737_792),
    ("transunet", "decoder.2.", "parameter", 147_712),
    ("transunet", "decoder.3.", "parameter", 11_584),
    ("transunet", "head.", "parameter", 1_305),
]


@pytest.mark.parametrize(("name", "prefix", "role", "count"), PARTS)
def test_parts(name, prefix, role, count):
    params = preset(name).graph.params
    assert sum(math.prod(p.shape) for key, p in params.items() if key.startswith(prefix) and p.role == role) == count


MACS = [
    ("unet++", 256, 34.49, 3),
    ("unet++-deep", 256, 34.49, 3),  # the heads that only training needs are not computed
    ("attention-unet", 256, 42.19, 1),
    ("sa-unet", 592, 13.08, 3),
    ("m-net", 400, 34.16, 3),
    ("transunet", 224, 29.23, 3),
    ("fcn-8s", 500, 181.53, 3),
]


@pytest.mark.parametrize(("name", "size", "giga", "channels"), MACS)
def test_multiply_adds(name, size, giga, channels):
    values = facts(preset(name), (size, size))
    assert round(values["macs"] / 1e9, 2) == giga
    assert values["input"] == [size, size, channels]
    assert values["output"][:2] == [size, size]


def test_multiply_adds_of_the_probabilistic_unet():
    """Once the U-Net and the prior, and for every sample the head; nothing of the posterior."""
    macs = preset("probabilistic-unet").graph.macs((128, 128))
    head = sum(count for name, count in macs.items() if name.startswith("fcomb."))
    assert round((sum(macs.values()) - head) / 1e9, 2) == 4.77
    assert round(head / 1e9, 3) == 0.054
    assert not any(count for name, count in macs.items() if name.startswith("posterior."))


def test_sizes_inside_of_fcn_at_500():
    extents = preset("fcn-8s").graph.extents(0, 500)
    assert [extents[f"stages.{i}.pool"] for i in range(5)] == [349, 175, 88, 44, 22]
    assert [extents[n] for n in ("fc6", "upscore2", "upscore_pool4", "upscore8", "upscore8_cut")] == [
        16,
        34,
        70,
        568,
        500,
    ]


@pytest.mark.parametrize(("name", "least", "step"), [("fcn-8s", 1, 1), ("transunet", 16, 16), ("sa-unet", 8, 8)])
def test_sizes_that_fit(name, least, step):
    grid = preset(name).geometry.grid()
    assert (grid.minimum, grid.step) == (least, step)
    for size in (least, least + step, least + 7 * step):
        assert preset(name).geometry.output_size(size) == size


@pytest.mark.parametrize("name", list(FAMILY_PRESETS))
def test_json_and_back(name):
    config = preset(name)
    assert NetworkConfig.from_json(config.to_json()) == config
    assert type(config).from_json(config.to_json()) == config
    with pytest.raises(InputError, match="unknown key 'depht'; known: in_channels"):
        config.replace(depht=3)


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("unet++", {"widths": (8,)}, "two levels or more"),
        ("multiresunet", {"alpha": 0.1}, "alpha is 0.1"),
        ("sa-unet", {"block": 4}, "block is 4; it must be odd"),
        ("probabilistic-unet", {"latent": 0}, "latent is 0"),
        ("transunet", {"heads": 5}, "a divisor of hidden, 768"),
        ("transunet", {"spatial_dims": 3}, "unknown key 'spatial_dims'"),
        ("fcn-8s", {"widths": (1, 2)}, "five numbers"),
    ],
)
def test_a_wrong_value_is_told(name, change, told):
    with pytest.raises(InputError, match=told):
        preset(name, **change)


def test_an_unknown_architecture_is_told_with_those_that_there_are():
    with pytest.raises(InputError, match=r"unknown architecture 'u-net'; allowed: .*'transunet'.*'unet'"):
        NetworkConfig.from_dict({"architecture": "u-net"})


def test_the_page_in_the_docs_is_what_its_command_prints():
    from unet_spec.diagram import page

    assert (FILES.parent.parent / "docs/families.md").read_text(encoding="utf-8") == page()


def docstring(path):
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("file", sorted(path.stem for path in FILES.glob("[a-z]*.py") if path.stem != "builder"))
def test_both_twins_show_the_figure(file):
    """Whoever reads a twin sees the figure and what departs from the paper, in the words of the spec."""
    told = {room: docstring(FILES.parent.parent / room / "families" / f"{file}.py") for room in ROOMS}
    assert "─" in told["unet_spec"]
    for room in ROOMS[1:]:
        first, _, rest = told[room].partition("\n\n")
        assert rest == told["unet_spec"]
        assert {f"{other}/families/{file}.py" in first for other in ROOMS[1:] if other != room} == {True}
