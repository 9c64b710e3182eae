"""`python -m parity_tests.coverage_by_room coverage.json`: coverage of lines and branches, by package.

The JSON file comes from `pytest --cov --cov-report=json:coverage.json`. The exit code is 1 if a package is below its
minimum.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOMS = ("unet_spec", "unet_data", "unet_jax", "unet_torch", "unet_export", "unet_tools")
FLOORS = {
    "unet_spec": 95.0,
    "unet_data": 95.0,
    "unet_jax": 95.0,
    "unet_torch": 95.0,
    "unet_export": 95.0,
    "unet_tools": 95.0,
}
"""Minimum coverage of a package by the default tests, in percent of lines and branches together."""
LEFT_OUT = ("/napari_plugin/", "/training/demo.py")
"""Parts of paths that are left out: napari has an environment of its own, the demo is CI's main job."""


def main(arguments: list[str]) -> int:
    shares = by_room(json.loads(Path(arguments[0]).read_text("utf-8"))["files"])
    below = False
    print(f"{'room':<12} {'lines':>7} {'branches':>9} {'both':>7} {'floor':>7}")
    for room, (lines, branches, both) in shares.items():
        floor = FLOORS.get(room)
        below |= floor is not None and both < floor
        print(
            f"{room:<12} {lines:6.1f}% {branches:8.1f}% {both:6.1f}% {'none' if floor is None else f'{floor:.1f}%':>7}"
        )
    return int(below)


def by_room(files: dict[str, dict]) -> dict[str, tuple[float, float, float]]:
    """Percentages of lines, of branches and of both for each package with files. `files`: files in coverage's JSON, by
    path in the tree or in the installed package. A module that has both paths counts once, with the one that more
    lines of ran."""
    names = ("covered_lines", "num_statements", "covered_branches", "num_branches")
    modules: dict[tuple[str, ...], list[int]] = {}
    for path, found in files.items():
        parts = Path(path).parts
        start = next((at for at, part in enumerate(parts) if part in ROOMS), None)
        if start is not None and not any(part in path for part in LEFT_OUT):
            counts = [found["summary"].get(name, 0) for name in names]
            modules[parts[start:]] = max(modules.get(parts[start:], counts), counts)
    sums = {room: [0, 0, 0, 0] for room in sorted({room for room, *_ in modules})}
    for (room, *_), counts in modules.items():
        sums[room] = [a + b for a, b in zip(sums[room], counts, strict=True)]

    def percent(ran: int, of: int) -> float:
        return 100 * ran / of if of else 100.0

    return {
        room: (percent(lines, of_lines), percent(jumps, of_jumps), percent(lines + jumps, of_lines + of_jumps))
        for room, (lines, of_lines, jumps, of_jumps) in sums.items()
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
