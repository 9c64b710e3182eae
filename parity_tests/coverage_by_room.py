"""`python -m parity_tests.coverage_by_room coverage.json`: coverage of lines and branches, by package.

The JSON file comes from `pytest --cov --cov-report=json:coverage.json`. The exit code is 1 if a package is below its
minimum.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOMS = ("unet_spec", "unet_data", "unet_jax", "unet_torch", "unet_export", "unet_tools")
FLOORS: dict[str, float] = {}
"""Minimum coverage of a package, in percent of lines and branches together."""


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
    path in the tree or in the installed package."""
    names = ("covered_lines", "num_statements", "covered_branches", "num_branches")
    sums: dict[str, list[int]] = {}
    for path, found in files.items():
        room = next((part for part in Path(path).parts if part in ROOMS), None)
        if room:
            counts = sums.setdefault(room, [0, 0, 0, 0])
            sums[room] = [a + found["summary"].get(name, 0) for a, name in zip(counts, names, strict=True)]

    def percent(ran: int, of: int) -> float:
        return 100 * ran / of if of else 100.0

    return {
        room: (percent(lines, of_lines), percent(jumps, of_jumps), percent(lines + jumps, of_lines + of_jumps))
        for room, (lines, of_lines, jumps, of_jumps) in sorted(sums.items())
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
