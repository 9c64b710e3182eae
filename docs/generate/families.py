"""Writes docs/families.md from families.md beside this file and from what `unet_spec.families` says.

python docs/generate/families.py
"""

from __future__ import annotations

import math
from pathlib import Path

from unet_spec import FAMILIES, Family, NetworkConfig
from unet_tools.commands.info import mermaid

TEMPLATE = Path(__file__).with_suffix(".md")
PAGE = Path(__file__).parents[1] / "families.md"


def table() -> str:
    """A row for every preset, at the size of the images that its reference is made for."""
    lines = ["| preset | input | parameters | multiply-adds | tiles can be exact |", "|---|---|---|---|---|"]
    for family in FAMILIES.values():
        for name, config in family.presets.items():
            size = config.geometry.grid().above(family.image_size)
            exact = "yes" if config.geometry.shift_invariant else "no"
            shape = f"{size}x{size}x{config.in_channels}"
            count = f"{config.graph.parameter_count:,}"
            lines.append(f"| `{name}` | {shape} | {count} | {giga_macs(config, size)} | {exact} |")
    return "\n".join(lines)


def section(architecture: str, family: Family) -> str:
    """When to choose an architecture, its figure, and the chart of its first preset."""
    name, config = next(iter(family.presets.items()))
    presets = f"Presets: {', '.join(f'`{p}`' for p in family.presets)}. " if len(family.presets) > 1 else ""
    buffers = sum(math.prod(p.shape) for p in config.graph.params.values() if p.role == "buffer")
    statistics = f" {buffers:,} running statistics," if buffers else ""
    size = config.geometry.grid().above(family.image_size)
    macs = f"{giga_macs(config, size)} multiply-adds at {size}x{size}"
    return f"""## {architecture}

**When**: {family.when}

{presets}`{name}`: {config.graph.parameter_count:,} parameters,{statistics} {macs}.

```text
{family.figure}
```

```mermaid
{mermaid(config.graph.inference)}
```"""


def giga_macs(config: NetworkConfig, size: int) -> str:
    return f"{sum(config.graph.macs((size, size)).values()) / 1e9:.2f} G"


def page() -> str:
    """The whole page."""
    sections = "\n\n".join(section(name, family) for name, family in FAMILIES.items())
    return TEMPLATE.read_text(encoding="utf-8").replace("{table}", table()).replace("{sections}", sections)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
