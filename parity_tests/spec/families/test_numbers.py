"""Parameters, multiply-adds and sizes of the reference networks, from their graphs alone."""

import math

import pytest

from unet_spec import FAMILIES, PRESETS, preset
from unet_spec.summary import facts

NUMBERS = [
    # preset, changes, parameters
    ("unet++", {}, 9_163_329),
    ("unet++", {"in_channels": 1}, 9_162_753),
    ("unet++-deep", {}, 9_163_428),
    ("unet3+", {}, 26_971_777),  # the paper: 26.97 M
    ("unet3+-deep", {}, 26_989_637),
    ("attention-unet", {}, 31_739_250),
    ("multiresunet", {}, 7_238_228),
    ("sa-unet", {}, 537_299),
    ("m-net", {}, 8_547_720),
    ("m-net", {"in_channels": 1, "out_channels": 1}, 8_538_596),
    ("probabilistic-unet", {}, 4_999_449),
    ("transunet", {}, 105_277_081),
    ("fcn-8s", {}, 134_489_759),
    ("fcn-8s", {"out_channels": 2, "learn_upsampling": True}, 134_271_430),
    ("monai-unet", {}, 1_625_161),
    ("resnet34-unet", {}, 24_436_369),
    ("resnet50-unet", {}, 32_521_105),
    ("nnunet", {}, 46_324_558),
    ("nnunet-residual", {}, 140_017_038),
    (
        "ensemble",
        {},
        5 * 31_036_546 + 5 * 2 + 4,
    ),  # that of "same", five times, and scale and shift of images and logits
]


@pytest.mark.parametrize(("name", "changes", "parameters"), NUMBERS)
def test_parameters(name, changes, parameters):
    assert preset(name, **changes).graph.parameter_count == parameters


def test_every_preset_has_its_number():
    assert {name for name, *_ in NUMBERS} == set(PRESETS) - set(FAMILIES["unet"].presets)  # those: test_summary


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
    extents = preset("fcn-8s").graph.sizes(0, 500)
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
