"""Makes one input of each kind, runs the command on it, and prints a table: exit code 1 where one is wrong.

python -m parity_tests.data.kinds [--seed 3] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from .table import KINDS, Row, lines, run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the pictures")
    parser.add_argument("--keep", type=Path, help="a new folder in which the inputs stay")
    flags = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        root = flags.keep or Path(temporary)
        for number, kind in enumerate(KINDS):
            if missing := [name for name in kind.needs if find_spec(name) is None]:
                print(f"{kind.name}: left out, since {missing[0]} is not installed", file=sys.stderr)
            else:
                rows.append(run(kind, root / f"{number:02d}", flags.seed))
    print(*lines(rows), sep="\n")
    return int(not all(row.right for row in rows))


if __name__ == "__main__":
    sys.exit(main())
