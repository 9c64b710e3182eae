"""Narrow networks of the architectures that other projects' checkpoints need. `family_cases` has them, too."""

from __future__ import annotations

from unet_spec import NetworkConfig
from unet_spec.families import MonaiUNetConfig, ResNetUNetConfig, StagedUNetConfig

SOURCE_FAMILIES: dict[str, NetworkConfig] = {
    # nnU-Net: anisotropic kernels and strides, a head for each stage of the decoder.
    "nnunet": StagedUNetConfig(
        in_channels=2,
        out_channels=3,
        widths=(4, 6, 5),
        kernels=((1, 3), (3, 3), (3, 5)),
        strides=((1, 1), (1, 2), (2, 2)),
        sides=1,
    ),
    "nnunet-residual": StagedUNetConfig(
        widths=(4, 6, 6), depths=(1, 2, 1), decoder_depths=(1, 2), residual="pool", stem=True, sides=1
    ),
    "nnunet-residual-3d": StagedUNetConfig(
        spatial_dims=3,
        widths=(2, 3),
        kernels=((1, 3, 3), (3, 3, 3)),
        strides=((1, 1, 1), (1, 2, 2)),
        depths=(1, 1),
        residual="pool",
        stem=True,
        norm="batch",
    ),
    # Of two channels: the 1x1 kernel of one would only be a scale, which the norm after it divides out.
    "dynunet-residual": StagedUNetConfig(
        in_channels=2, widths=(3, 4, 5), residual="stride", conv_bias=False, up_bias=False, slope=0.05, sides=1
    ),
    "staged-max": StagedUNetConfig(
        in_channels=2,
        widths=(4, 4, 6),
        decoder_widths=(5, 3),
        up_widths=(3, 4),
        downsampling="max",
        first="skip",
        norm="batch",
        activation="relu",
    ),
    "staged-nearest": StagedUNetConfig(
        out_channels=1,
        widths=(4, 5, 6),
        downsampling="max",
        upsampling="nearest",
        first="skip",
        norm="none",
        activation="relu",
        last_width=2,
    ),
    "monai-unet": MonaiUNetConfig(widths=(3, 4, 5), strides=(2, 1), units=2, in_channels=2),
    "monai-unet-plain": MonaiUNetConfig(
        widths=(2, 3, 4), strides=(2, 2), units=0, norm="batch", activation="relu", bias=False, kernel=5
    ),
    "monai-unet-3d": MonaiUNetConfig(spatial_dims=3, widths=(2, 3), strides=(2,), units=1, norm="affine"),
    "resnet-unet": ResNetUNetConfig(width=2, depths=(1, 2, 1, 1), decoder=(6, 5, 4, 3, 2), out_channels=2),
    "resnet-unet-bottleneck": ResNetUNetConfig(
        block="bottleneck", width=2, depths=(1, 1, 2, 1), decoder=(4, 3, 4, 2, 3), in_channels=1
    ),
}
"""A network and its name in the battery."""
