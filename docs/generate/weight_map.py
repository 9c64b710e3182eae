"""Writes docs/reference/weight-map.md from weight_map.md beside this file and from unet_spec's weight_map.toml.

python docs/generate/weight_map.py
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

from unet_spec.weights.weight_map import permutation

TEMPLATE = Path(__file__).with_suffix(".md")
PAGE = Path(__file__).parents[1] / "reference" / "weight-map.md"


def table() -> str:
    """A row for each parameter of each kind of layer."""
    text = resources.files("unet_spec.weights").joinpath("weight_map.toml").read_text(encoding="utf-8")
    rows = ["| layer | PyTorch | axes | Flax | axes | transpose, in 2-D |", "|---|---|---|---|---|---|"]
    for layer, tensors in tomllib.loads(text).items():
        for name, entry in tensors.items():
            theirs, ours = entry["pytorch_axes"], entry["flax_axes"]
            order, _ = permutation(theirs.replace("...", "H W"), ours.replace("...", "H W"))
            moved = f"`{order}`" if order != tuple(range(len(order))) else "none"
            rows.append(f"| `{layer}` | `{name}` | {theirs} | `{entry['flax']}` | {ours} | {moved} |")
    return "\n".join(rows)


def page() -> str:
    """The whole page."""
    return TEMPLATE.read_text(encoding="utf-8").replace("{table}", table())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
