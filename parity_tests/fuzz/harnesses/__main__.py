"""Runs one harness; see the package."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import atheris

from . import readers

PACKAGES = {"images": ["PIL", "tifffile"], "zarr": ["zarr"], "nifti": ["nibabel"]}
"""Whose branches are counted besides our own; instrumented as they are imported."""
OURS = ["unet_spec", "unet_data", "unet_torch", "unet_export", "unet_tools"]


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in readers.READERS:
        sys.exit(f"give a reader: {', '.join(readers.READERS)}")
    name, *rest = sys.argv[1:]
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    read = readers.READERS[name]

    def one(data: bytes) -> None:
        try:
            read(data, folder)
        except ValueError as e:
            if type(e).__name__ != "InputError":  # which is not imported before it is instrumented
                raise
            text = str(e)
            assert len(text) <= 300, text
            assert text.isprintable(), ascii(text)

    with atheris.instrument_imports(include=OURS + PACKAGES.get(name, []), enable_loader_override=False):
        inputs = list(readers.seeds(name, folder))
        for data in inputs:
            one(data)  # imports what it needs

    if not any(not argument.startswith("-") for argument in rest):
        seeds = folder / "seeds"
        seeds.mkdir()
        for number, data in enumerate(inputs):
            (seeds / str(number)).write_bytes(data)
        rest.append(str(seeds))
    options = ["-rss_limit_mb=2048", "-timeout=60", "-max_len=20000"]
    atheris.Setup([sys.argv[0], *options, *rest], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
