"""README.md of a checkpoint folder, with information for users from config.json and the graph."""

from __future__ import annotations

import json
import re
from typing import Any

from ..network import NetworkConfig
from ..untrusted.text import markdown, visible
from .checkpoint import DataSpec

CARD = "README.md"


def model_card(config: NetworkConfig, data: DataSpec, licence: str | None = None) -> str:
    """The model card in Markdown, with a header for the Hugging Face hub.

    Args:
        config: the network.
        data: normalisation and class names.
        licence: licence of the weights, such as "cc-by-4.0".

    Example:
        >>> from unet_spec import preset
        >>> print(model_card(preset("paper"), DataSpec(), "cc0-1.0").splitlines()[7])
        # unet, 2-D, 1 → 2 channels
    """
    graph, geometry = config.graph, config.geometry
    dims = config.spatial_dims
    size = tuple(grid.above(512 if dims == 2 else 128) for grid in geometry.grids)
    macs, buffers = sum(graph.macs(size).values()), graph.buffer_count
    axes = ["D", "H", "W"][-dims:]
    unnamed = f"{data.class_count(config)}, unnamed"
    names = ", ".join(map(markdown, data.class_names)) if data.class_names else unnamed
    first = (
        "The logit of class 1 against class 0."
        if config.out_channels == 1
        else "One logit per class; softmax over them."
    )
    if data.overlapping:
        first = "One logit per class; a pixel may have several classes: the sigmoid of each logit."
    if config.distance_head:
        first += " The last channel is the predicted distance to the border of the object, as a share of its largest."
    fits = ", ".join(f"{a} = {g.minimum} + {g.step} k" for a, g in zip(axes, geometry.grids, strict=True))
    margins = [geometry.margin(a) for a in range(dims)]
    field = geometry.field()
    lines = [
        "---",
        *([f"license: {_yaml(licence)}"] if licence else []),
        "library_name: unet-twins",
        "pipeline_tag: image-segmentation",
        f"tags: [u-net, segmentation, {config.architecture}, jax, pytorch]",
        "---",
        "",
        f"# {config.architecture}, {dims}-D, {config.in_channels} → {config.out_channels} channels",
        "",
        "| | |",
        "|---|---|",
        f"| parameters | {graph.parameter_count:,}" + (f" and {buffers:,} buffers |" if buffers else " |"),
        f"| multiply-adds | {macs:,} for one image of {' x '.join(map(str, size))} |",
        f"| sizes that fit | {fits} |",
        f"| margin lost per side | {', '.join(map(str, margins))} pixels |",
        f"| receptive field | {_field(field)} |",
        f"| exact in tiles | {'yes' if geometry.shift_invariant else 'no: it sees the whole image'} |",
        f"| classes | {names}. {first} |",
        f"| preparation | {_preparation(data)} |",
        *([f"| pixel size expected | {markdown(size)} |"] if (size := data.describe_spacing()) else []),
        *([f"| files as read in training | {markdown(read)} |"] if (read := data.describe_reading()) else []),
        f"| licence of the weights | {markdown(licence or 'not stated; ask whoever gave them to you')} |",
        "",
        "## Load",
        "",
        "```python",
        "import unet_torch",
        f'model = unet_torch.from_pretrained("this/folder")  # (N, C, {", ".join(axes)}) to logits',
        "",
        "import unet_jax",
        f'model = unet_jax.from_pretrained("this/folder")    # (N, {", ".join(axes)}, C) to logits',
        "```",
        "",
        "Both are the same network, from the same file. `unet export this/folder -o bundle` exports",
        "to ONNX and TensorRT; `unet predict this/folder image.tif -o labels.tif` segments images of any size.",
        "`model.safetensors` has the tensors under PyTorch's names and axes and loads without this library, too.",
        "",
        "## Config",
        "",
        "```json",
        config.to_json().strip(),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _yaml(text: str) -> str:
    """A YAML string: a plain word unchanged, other text in quotes."""
    return text if re.fullmatch(r"[\w.+-]+", text) else json.dumps(visible(text), ensure_ascii=False)


def _preparation(data: DataSpec) -> str:
    return f"integers divided by the largest value of their type{data.describe()}"


def _field(field: Any) -> str:
    if field is None:
        return "the whole image"
    low, high = min(field.widths), max(field.widths)
    return f"{low} pixels per axis" if low == high else f"{low} to {high} pixels per axis"
