"""A network's blocks as a Mermaid flow chart, from its graph: what the documentation shows.

python -m unet_spec.diagram unet++        # one chart
python -m unet_spec.diagram               # the page docs/families.md
"""

from __future__ import annotations

import inspect
import math
import sys

from unet_spec.config import preset
from unet_spec.graph import Graph
from unet_spec.summary import own_parameters

SIZES = {
    "unet++": 256,
    "attention-unet": 256,
    "multiresunet": 256,
    "sa-unet": 592,
    "m-net": 400,
    "probabilistic-unet": 128,
    "transunet": 224,
    "fcn-8s": 500,
}
"""Image sizes of the references, per axis."""

WHEN = {
    "unet++": "Objects of very different sizes; a network that is to be cut down after training (`pruned`).",
    "attention-unet": "Small structures in a large field, where most of a skip is background.",
    "multiresunet": "Textures at several scales, with a quarter of the U-Net's parameters.",
    "sa-unet": "Thin structures such as vessels, few images, half a million parameters.",
    "m-net": "Objects whose outline shows at low resolution already; side outputs to look at.",
    "probabilistic-unet": "Annotators disagree: it draws whole segmentations, each consistent in itself.",
    "transunet": "Relations across the whole image, and a pretrained encoder or much data at hand.",
    "fcn-8s": "The comparison: class scores added, where the U-Net concatenates features.",
}


def block_of(name: str) -> str:
    """The block that a node belongs to: its path up to the first index, or its first part."""
    parts = name.split(".")
    for end in range(1, len(parts)):
        if parts[end].isdigit() and parts[end - 1] not in ("convs", "acts"):
            while end + 1 < len(parts) and parts[end + 1].isdigit():
                end += 1
            return ".".join(parts[: end + 1])
    return parts[0]


def mermaid(graph: Graph) -> str:
    """A flow chart of the blocks with their channels and parameters, and an arrow for every map that passes."""
    last, parameters, arrows = {}, {}, {}
    for node in graph:
        block = block_of(node.name)
        last[block] = node.name
        parameters[block] = parameters.get(block, 0) + own_parameters(node)
        arrows |= {(block_of(i), block): None for i in node.inputs if block_of(i) != block}
    key = {block: f"b{i}" for i, block in enumerate(last)}
    lines = ["flowchart LR"]
    for block, node in last.items():
        own = f"<br/>{parameters[block]:,} parameters" if parameters[block] else ""
        lines.append(f'  {key[block]}["{block}<br/>{graph.channels[node]} channels{own}"]')
    return "\n".join([*lines, *(f"  {key[a]} --> {key[b]}" for a, b in arrows)])


def page() -> str:
    """docs/families.md: a table of all, and for each its figure, its chart and when to choose it."""
    lines = [
        "# The other architectures",
        "",
        "One of each of the article's families of improvements to the U-Net, and FCN, which it is set against. All",
        "have both twins, the NumPy reference, and ONNX; `unet info --preset NAME` shows the layers.",
        "",
        "This page is the output of `python -m unet_spec.diagram`. Multiply-adds are those of one image of the size",
        "given, convolutions and matrix products only.",
        "",
        "| preset | input | parameters | multiply-adds | tiles can be exact |",
        "|---|---|---|---|---|",
    ]
    for name, size in SIZES.items():
        config = preset(name)
        macs = sum(config.graph.macs((size, size)).values()) / 1e9
        exact = "yes" if config.geometry.shift_invariant else "no"
        shape = f"{size}x{size}x{config.in_channels}"
        lines.append(f"| `{name}` | {shape} | {config.graph.parameter_count:,} | {macs:.2f} G | {exact} |")
    for name in SIZES:
        config = preset(name)
        figure = inspect.cleandoc(sys.modules[type(config).__module__].__doc__ or "")
        buffers = sum(math.prod(p.shape) for p in config.graph.params.values() if p.role == "buffer")
        extra = f" {buffers:,} running statistics." if buffers else ""
        chart = f"```mermaid\n{mermaid(config.graph.inference)}\n```"
        lines += ["", f"## {name}", "", f"{WHEN[name]}{extra}", "", f"```text\n{figure}\n```", "", chart]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(mermaid(preset(sys.argv[1]).graph) if len(sys.argv) > 1 else page(), end="")
