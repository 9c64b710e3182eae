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
from unet_spec.summary import blocks

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


INTRODUCTION = """
# The other architectures

One of each of the article's families of improvements to the U-Net, and FCN, which it is set against. All have both
twins, the NumPy reference, ONNX and engines. Every command knows them:

```console
$ unet demo --preset unet++                  # train a narrow one, prove it, export it, report
$ unet info --preset transunet --input 224   # layers, shapes, parameters, multiply-adds
$ unet train data/em --out runs/em --preset m-net --widths 16 32 64 128
$ unet predict runs/em/best slide.tif -o labels.tif
$ unet export runs/em/best -o bundle --precision fp16 fp32
```

`--widths` narrows all but TransUNet, whose measures have other names; a config file sets those, and any other
field: `unet train data/em --out runs/em --config transunet.json` with `{"architecture": "transunet", "width": 16,
"groups": 8, "hidden": 128, "heads": 4, "mlp": 256, "layers": 4}`.

**Loss.** Each is trained by the same trainer with its own loss: UNet++ with deep supervision and M-Net average the
chosen loss over their outputs, the Probabilistic U-Net minimises the negative ELBO.

**Pruning.** A UNet++ trained with deep supervision (`--preset unet++-deep`) is a network for each of its heads.
`unet convert runs/em/best small --prune 2` writes the one of the second head as a checkpoint of its own, for every
command; what only the other heads need is gone.

**Hypotheses.** The Probabilistic U-Net is f(image, noise) in every runtime. `unet predict ... --samples 16 --seed
1` draws 16 segmentations of each image as the pages of one file: U-Net and prior run once, the last layers once a
sample. Without noise, it gives the hypothesis of the prior's mean. `unet evaluate ... --samples 16` adds the
generalised energy distance from the label; for several labels of one image, `unet_data.energy_distance(samples,
labels)`.

**Engines.** TensorRT for RTX (1.7.1) builds each of them in fp32 and fp16; `parity_tests/test_families_engines.py`
does so, narrow. No operation stands in the way: attention is written out as products and a softmax, and noise is an
input of the engine, up to 16 rows for `--profile latency`, else as many as images. Whether the engines compute what
they should, only a GPU can show. Triton serves the Probabilistic U-Net through ONNX Runtime only, where noise may
be left out.

**Padding.** All have same padding, as their references. `multiresunet` can have valid convolutions (`"padding":
"valid"`); why the others cannot, or would gain nothing, their configs' docstrings say. "Tiles can be exact" does
not depend on it: a tile with enough around it gives the whole image's values.

**Side by side.** `python -m unet_tools.families_table --data DIR --out benchmarks/results/families.json` trains all
of them, narrow and alike, on DSB-2018 and ISBI-2012, and writes a table of scores, parameters, multiply-adds and
seconds a step with a picture beside that file: [families.md](../benchmarks/results/families.md). It takes up where it
was stopped.

This page is the output of `python -m unet_spec.diagram`. Multiply-adds are those of one image of the size given,
convolutions and matrix products only. The figures are the docstrings of `unet_spec.families`; they say where the
reference implementation departs from the paper.
"""


def mermaid(graph: Graph) -> str:
    """A flow chart of the blocks with their channels and parameters, and an arrow for every map that passes."""
    found = blocks(graph)
    key = {block.name: f"b{i}" for i, block in enumerate(found)}
    lines = ["flowchart LR"]
    for block in found:
        own = f"<br/>{block.parameters:,} parameters" if block.parameters else ""
        lines.append(f'  {key[block.name]}["{block.name}<br/>{graph.channels[block.last]} channels{own}"]')
    return "\n".join([*lines, *(f"  {key[a]} --> {key[block.name]}" for block in found for a in block.inputs)])


def page() -> str:
    """docs/families.md: a table of all, and for each its figure, its chart and when to choose it."""
    lines = [
        *INTRODUCTION.strip().splitlines(),
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
        extra = f" {buffers:,} running statistics," if buffers else ""
        chart = f"```mermaid\n{mermaid(config.graph.inference)}\n```"
        size = SIZES[name]
        macs = sum(config.graph.macs((size, size)).values()) / 1e9
        counts = f"{config.graph.parameter_count:,} parameters,{extra} {macs:.2f} G multiply-adds at {size}x{size}."
        lines += ["", f"## {name}", "", f"**When**: {WHEN[name]}", "", counts, "", f"```text\n{figure}\n```", "", chart]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(mermaid(preset(sys.argv[1]).graph) if len(sys.argv) > 1 else page(), end="")
