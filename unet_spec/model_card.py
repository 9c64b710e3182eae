"""README.md of a checkpoint folder: what a person needs to know of it, all of it from config.json and the graph."""

from __future__ import annotations

import dataclasses
from typing import Any

from unet_spec.checkpoint import DataSpec
from unet_spec.network import NetworkConfig

CARD = "README.md"


def model_card(config: NetworkConfig, data: DataSpec, licence: str | None = None) -> str:
    """Markdown with the header that the Hugging Face hub reads. licence: of the weights, such as "cc-by-4.0"."""
    graph, geometry = config.graph, config.geometry
    dims = config.spatial_dims
    size = tuple(grid.above(512 if dims == 2 else 128) for grid in geometry.grids)
    macs = sum(graph.macs(size).values())
    buffers = sum(_count(p.shape) for p in graph.params.values() if p.role == "buffer")
    axes = ["D", "H", "W"][-dims:]
    names = ", ".join(data.class_names) if data.class_names else f"{config.classes}, unnamed"
    first = (
        "The logit of class 1 against class 0." if config.out_channels == 1 else "One logit a class; softmax over them."
    )
    fits = ", ".join(f"{a} = {g.minimum} + {g.step} k" for a, g in zip(axes, geometry.grids, strict=True))
    margins = [geometry.margin(a) for a in range(dims)]
    field = geometry.field()
    lines = [
        "---",
        *([f"license: {licence}"] if licence else []),
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
        f"| licence of the weights | {licence or 'not stated; ask whoever gave them to you'} |",
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
        "Both are the same network, from the same file. `unet export this/folder -o bundle` makes ONNX and TensorRT of",
        "it, `unet predict this/folder image.tif -o labels.tif` segments images of any size.",
        "`model.safetensors` has the tensors under PyTorch's names and axes and loads without this library, too.",
        "",
        "## Config",
        "",
        "```json",
        config.to_json().strip(),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _preparation(data: DataSpec) -> str:
    base = "integers divided by the largest value of their type"
    if not data.mean:
        return f"{base}; nothing else"
    values = dataclasses.asdict(data)
    mean, std = (", ".join(f"{v:.6g}" for v in values[key]) for key in ("mean", "std"))
    return f"{base}, then (x − mean) / std per channel; mean {mean}; std {std}"


def _field(field: Any) -> str:
    if field is None:
        return "the whole image"
    low, high = min(field.widths), max(field.widths)
    return f"{low} pixels per axis" if low == high else f"{low} to {high} pixels per axis"


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for n in shape:
        count *= n
    return count
