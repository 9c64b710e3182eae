"""Narrow networks of the other architectures, one line each: what can be wrong does not depend on the width."""

from __future__ import annotations

from unet_spec import NetworkConfig, preset

FAMILIES: dict[str, NetworkConfig] = {
    "unet++": preset("unet++", widths=(3, 4, 5), out_channels=2),
    "unet++-deep": preset("unet++", widths=(2, 3, 4, 5), deep_supervision=True, in_channels=1),
    "unet++-half-pixel": preset("unet++", widths=(4, 4), align_corners=False),
    "unet++-3d": preset("unet++", widths=(2, 3), spatial_dims=3),
    "attention-unet": preset("attention-unet", widths=(4, 5, 6), in_channels=2),
    "attention-unet-3d": preset("attention-unet", widths=(2, 4), spatial_dims=3),
    "multiresunet": preset("multiresunet", widths=(4, 5, 7)),
    "multiresunet-3d": preset("multiresunet", widths=(4, 6), spatial_dims=3),
    "sa-unet": preset("sa-unet", widths=(3, 4, 6), keep=1.0),
    "sa-unet-drop": preset("sa-unet", widths=(3, 4), block=3, out_channels=3),
    "sa-unet-3d": preset("sa-unet", widths=(2, 3), spatial_dims=3, keep=1.0),
    "m-net": preset("m-net", widths=(3, 4, 5, 6)),
    "m-net-3d": preset("m-net", widths=(2, 3, 4), spatial_dims=3, in_channels=1),
    "probabilistic-unet": preset("probabilistic-unet", widths=(4, 5, 6), latent=3, convolutions=2),
    "probabilistic-unet-3d": preset("probabilistic-unet", widths=(2, 3), latent=2, convolutions=1, spatial_dims=3),
    "transunet": preset(
        "transunet",
        width=4,
        groups=2,
        units=(1, 2, 1),
        hidden=8,
        layers=2,
        heads=2,
        mlp=12,
        grid=(2, 3),
        more=6,
        decoder=(5, 4, 3, 3),
        out_channels=3,
        dropout=0.0,
    ),
    "transunet-drop": preset(
        "transunet",
        width=4,
        groups=4,
        units=(1, 1, 1),
        hidden=6,
        layers=1,
        heads=3,
        mlp=8,
        grid=(2, 2),
        more=4,
        decoder=(4, 4, 4, 2),
        in_channels=1,
        out_channels=1,
        dropout=0.2,
    ),
    "fcn-8s": preset("fcn-8s", widths=(2, 3, 4, 4, 5), hidden=6, out_channels=3, dropout=0.0),
    "fcn-8s-learned": preset(
        "fcn-8s", widths=(2, 2, 3, 3, 3), hidden=4, out_channels=2, in_channels=1, learn_upsampling=True
    ),
}
"""A network and its name in the battery."""
