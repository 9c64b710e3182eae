"""README.md of a model for the BioImage Model Zoo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unet_spec import Checkpoint

from ..onnx.mirrored import BlockAxis


def zoo_card(
    checkpoint: Checkpoint,
    rdf: dict[str, Any],
    axes: tuple[BlockAxis, ...],
    distance: float,
    scores: Mapping[str, float] | None,
) -> str:
    """The text in Markdown. `distance`: distance of ONNX Runtime from the float64 reference on the test image."""
    config = checkpoint.config
    names = rdf["inputs"][0]["axes"][2:]
    sizes = ", ".join(f"{a['id']} = {a['size']['min']} + {a['size']['step']} k" for a in names)
    halo = ", ".join(dict.fromkeys(str(axis.halo) for axis in axes))
    rows = [f"| {name} | {value:.4g} |" for name, value in (scores or {}).items()]
    zero_padded = any(config.geometry.halo(a) != (0, 0) for a in range(config.spatial_dims))
    border = (
        f" Within {halo} pixels of an image's edge the result differs from that of `unet predict`: there the network"
        " pads with zeros, layer by layer, and here it sees the mirrored image."
        if zero_padded
        else ""
    )
    table = ["| score | value |", "|---|---|", *rows]
    measured = table if rows else ["The scores of this model were not recorded; ask its authors."]
    return "\n".join(
        [
            f"# {rdf['name']}",
            "",
            rdf["description"],
            "",
            "## Use",
            "",
            "Open it in software that reads models of bioimage.io, such as ilastik, Fiji (deepImageJ), QuPath or",
            "`bioimageio.core`. Images are normalised and mirrored at their borders by the model itself: give them as",
            f"they are, {rdf['inputs'][0]['data']['type']}. It returns probabilities, of the image's size.",
            "",
            f"Blocks of {sizes} with a halo of {halo} pixels give the result of the whole image.{border}",
            "",
            "This folder is a checkpoint of unet-twins, too: `unet predict`, `unet convert` and",
            "`unet_torch.from_pretrained` read it.",
            "",
            "## Validation",
            "",
            *measured,
            "",
            f"ONNX Runtime is {distance:.1e} from the float64 reference on the test image, relative to the largest",
            "logit. To validate on images of your own: `unet evaluate this/folder DATA`.",
            "",
        ]
    )
