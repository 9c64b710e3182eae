"""Peak memory of a forward pass: the maps that exist at the same time, and the overhead of a runtime.

A map is alive from the node that computes it to its last use. `MemoryModel` describes what a runtime adds. Its numbers
are fitted to measurements; `python -m benchmarks.tiles memory` compares the predictions with a runtime's actual memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph import Graph, Node

FLOAT32 = 4  # bytes
MIB = 2**20
Sizes = Sequence[Mapping[str, Any]]
"""Per axis, of every node: a number, or an array of them; those of different axes broadcast against each other."""


@dataclass(frozen=True)
class MemoryModel:
    """How a runtime stores the maps of the graph, and what else it allocates.

    Attributes:
        fused: activation and batch norm are part of the convolution before them, or work in place.
        crop_copies: cropping a skip copies it; otherwise the crop is a view, and the whole skip stays alive.
        block: channels are stored in multiples of this, except those of the image and the logits.
        factor: factor on the total, for copies in other layouts and the allocator's overhead.
        weights: copies of the weights that the first run makes: filters transformed or packed for the kernels.
        fixed: further bytes: programs that are compiled at the first run, buffers of the threads.
        left: bytes that loading the model leaves free in the process, which the first maps fill.
    """

    fused: bool = True
    crop_copies: bool = True
    block: int = 1
    factor: float = 1.0
    weights: float = 0.0
    fixed: int = 0
    left: int = 0


MODELS = {
    "onnx": MemoryModel(block=8, factor=2.3, left=40 * MIB),
    "mnn": MemoryModel(factor=1.1, weights=0.3, fixed=5 * MIB),
    "mnn-fast": MemoryModel(factor=1.18, weights=4.0, fixed=5 * MIB),
    "torch": MemoryModel(block=8, factor=2.04, weights=0.8, fixed=71 * MIB),
    "jax": MemoryModel(crop_copies=False, factor=1.06, fixed=100 * MIB),
}
"""Memory models of the runtimes on a CPU; benchmarks/results has the error of each against measurements."""


class ActivationMemory:
    """The peak of a graph's maps as a function of the tile.

    Sizes may be arrays that broadcast against each other, so that thousands of tile shapes are evaluated at once.
    `fixed` is the part, in bytes, that does not depend on the tile.
    """

    def __init__(self, graph: Graph, model: MemoryModel):
        self.graph, self.model = graph, model
        count = sum(math.prod(p.shape) for p in graph.params.values())
        self.fixed = model.fixed + int(model.weights * FLOAT32 * count)
        self._last_use = {name: node.name for node in graph.inference for name in node.inputs}

    def peak(self, sizes: Sizes) -> np.ndarray:
        """Bytes at the peak for one image, float32, without weights. `sizes`: per axis, of every node."""
        alive: dict[str, Any] = {}
        owner: dict[str, str] = {}  # the map that a node's output lies in
        users: dict[str, int] = {}
        peak: Any = np.zeros(())
        for node in self.graph.inference:
            shared = self._shares(node)
            owner[node.name] = owner[node.inputs[0]] if shared else node.name
            if not shared:
                alive[node.name] = self._size(node, sizes)
            peak = np.maximum(peak, sum(alive.values()))
            users[owner[node.name]] = users.get(owner[node.name], 0) + 1
            for name in set(node.inputs):
                if self._last_use[name] == node.name:
                    users[owner[name]] -= 1
            for name in [n for n, count in users.items() if not count]:
                del users[name], alive[name]
        maps = peak * FLOAT32
        return np.maximum(maps * self.model.factor - self.model.left, maps) + self.fixed

    def _shares(self, node: Node) -> bool:
        return (node.op.view and not self.model.crop_copies) or (node.op.in_place and self.model.fused)

    def _size(self, node: Node, sizes: Sizes) -> Any:
        channels = self.graph.channels[node.name]
        if node not in (self.graph.input, self.graph.output):
            channels = -(-channels // self.model.block) * self.model.block
        return math.prod((axis[node.name] for axis in sizes), start=np.float64(channels))
