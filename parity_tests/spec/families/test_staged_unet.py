"""StagedUNet: sizes and constants of its configs, and the ranges of their values."""

import pytest

from unet_spec import InputError
from unet_spec.families.staged_unet import StagedUNetConfig, stages_of

from .stated import AXES, CHANNELS, NORM, check_configs, check_range

SIZES = {
    "default": (20_617_154, 78, 222_134_272),
    "nnunet": (46_324_558, 112, 3_724_541_952),
    "nnunet-residual": (140_017_038, 327, 8_132_231_168),
    "narrow nnunet": (121_494, 52, 5_082_624),
    "narrow nnunet-residual": (210_182, 80, 6_465_024),
    "test nnunet": (2_917, 37, 405_405),
    "test nnunet-residual": (3_736, 51, 521_000),
    "test nnunet-residual-3d": (733, 30, 1_711_611),
    "test dynunet-residual": (2_699, 67, 347_875),
    "test staged-max": (2_268, 38, 313_700),
    "test staged-nearest": (2_620, 36, 441_250),
}
"""By config: values of all tensors, layers, multiply-adds."""
CONSTANTS = {
    "": {"eps": [1e-05], "slope": [0.01]},
    "test nnunet-residual-3d": {"eps": [1e-05], "momentum": [0.1], "slope": [0.01]},
    "test dynunet-residual": {"eps": [1e-05], "slope": [0.05]},
    "test staged-max": {"eps": [1e-05], "momentum": [0.1]},
    "test staged-nearest": {},
}


def test_configs_have_the_stated_sizes_and_constants():
    check_configs("staged-unet", SIZES, CONSTANTS)


BASE = StagedUNetConfig(widths=(2, 3, 4))


@pytest.mark.parametrize(
    "stated",
    [
        *CHANNELS,
        AXES,
        *NORM,
        ("depths", [(), (1, 1, 1)], [(1, 1), (1, 1, 1, 1), (1, 0, 1)], "3 numbers above 0"),
        *(
            (k, [(), (1, 1)], [(1,), (1, 1, 1), (0, 1)], "2 numbers above 0")
            for k in ("decoder_depths", "decoder_widths", "up_widths")
        ),
        *(
            (
                k,
                [(), ((1, 3),) * n],
                [((1, 3),) * (n - 1), ((1, 3),) * (n + 1), ((3,),) * n, ((1, 1, 1),) * n, ((1, 0),) * n],
                f"{n} rows, one a stage, of 2 numbers, one an axis, each at least 1",
            )
            for k, n in (("kernels", 3), ("decoder_kernels", 2))
        ),
        *(
            (k, [((5, 7),) * n], [((1, 2),) * n, ((2, 1),) * n], "odd on every axis")
            for k, n in (("kernels", 3), ("decoder_kernels", 2))
        ),
        (
            "strides",
            [(), ((1, 1), (2, 1), (3, 4))],
            [((1, 1),) * 2, ((1,),) * 3, ((1, 1), (1, 0), (1, 1))],
            "3 rows, one a stage, of 2 numbers, one an axis, each at least 1",
        ),
        ("strides", [((1, 1), (1, 1), (1, 1))], [((1, 2), (1, 1), (1, 1))], "1 on every axis at first"),
        ("sides", [0, 1], [-1, 2], "in 0 … 1, for 3 stages"),
        ("last_width", [0, 1], [-1], "at least 0"),
    ],
    ids=lambda stated: stated[0],
)
def test_a_value_is_in_its_range(stated):
    check_range(BASE, stated)


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(InputError, match=r"^downsampling is max; it must be 'stride' for residual blocks$"):
        BASE.replace(residual="pool", downsampling="max")
    flat = ((1, 1), (1, 2), (2, 2))
    with pytest.raises(InputError, match=r"^strides is .*; it must be 2 on every axis for nearest upsampling$"):
        BASE.replace(upsampling="nearest", strides=flat)
    assert BASE.replace(upsampling="nearest", strides=((1, 1), (2, 2), (2, 2))).graph.total_strides == (4, 4)
    assert BASE.replace(downsampling="max", upsampling="nearest").residual == "none"


def test_settings_that_are_left_out_have_the_usual_values():
    given = {"kernels": ((1, 3), (3, 3), (3, 5)), "widths": (2, 3, 4), "in_channels": 5}
    found = stages_of(StagedUNetConfig(**given, sides=1, stem=True))
    assert (found.kernels, found.decoder_kernels) == (given["kernels"], ((3, 3), (1, 3)))
    assert found.strides == ((1, 1), (2, 2), (2, 2))
    assert (found.depths, found.decoder_depths) == ((2, 2, 2), (2, 2))
    assert (found.decoder_widths, found.up_widths) == ((3, 2), (3, 2))
    assert (found.inputs, found.side_stages) == ((2, 2, 3), (0,))
    plain = stages_of(StagedUNetConfig(spatial_dims=3, widths=(2, 3), in_channels=5))
    assert (plain.kernels, plain.decoder_kernels) == (((3,) * 3,) * 2, ((3,) * 3,))
    assert (plain.strides, plain.inputs, plain.side_stages) == (((1,) * 3, (2,) * 3), (5, 2), ())
