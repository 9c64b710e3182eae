"""nnU-Net's plans from before they held the architecture."""

from __future__ import annotations

from unet_spec import sources

from ...fixtures.sources.recorded import arrays


def test_plans_of_before_they_held_the_architecture():
    found = sources.import_tensors(
        "nnunet",
        arrays("nnunet_plain_2d"),
        {"plans": {"configurations": {"2d": {"UNet_class_name": "PlainConvUNet"}}}, "configuration": "2d"},
        "old",
    )
    assert (found.config.slope, found.config.norm_eps) == (0.01, 1e-5)
